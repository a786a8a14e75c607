"""Folders of TensorFlow's and Keras's weights are named, with the way to convert them."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from suexp.errors import UserError
from suexp.transform import Pretrained
from tests.transform.test_hostile_checkpoints import model


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        Pretrained(str(folder)).load(model())
    return str(caught.value)


def test_a_checkpoint_of_tensorflow(tmp_path: Path) -> None:
    for name in ("bert_config.json", "vocab.txt", "bert_model.ckpt.meta", "bert_model.ckpt.index"):
        (tmp_path / name).touch()
    line = refused(tmp_path)
    assert line.startswith(f"{tmp_path} holds bert_model.ckpt.index, a checkpoint of TensorFlow; ")
    command = shlex.split(re.search(r'python -c ".*"$', line)[0])  # type: ignore[index]
    calls = [node for node in ast.walk(ast.parse(command[2])) if isinstance(node, ast.Call)]
    texts = {arg.value for call in calls for arg in call.args if isinstance(arg, ast.Constant)}
    assert texts == {
        f"{tmp_path}/bert_config.json",
        f"{tmp_path}/bert_model.ckpt",
        f"{tmp_path}-torch",
    }


def test_weights_of_bert4keras(tmp_path: Path) -> None:
    (tmp_path / "best_model.weights").touch()
    assert refused(tmp_path).startswith(f"{tmp_path} holds best_model.weights, weights of Keras; ")
