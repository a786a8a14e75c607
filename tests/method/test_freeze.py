from pathlib import Path

import pytest
import torch

from suexp.code.instantiate import instantiate
from suexp.errors import UserError
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.method.freeze import Freeze
from suexp.store.folder import Run

DIGITS = [
    "task=classification",
    "data=digits",
    "model=mlp",
    "model.dim=8",
    "model.dropout=0.5",
    "method=freeze",
    "threads=1",
]


def built(*overrides):
    config = spec_of([*DIGITS, *overrides])
    data = instantiate(config.config["data"])
    return build(config.config, data), data


def test_only_the_classifier_learns():
    task, data = built()
    rows = data.splits()["train"]
    batch = data.collate([rows[i] for i in range(8)])
    task.train()
    first, second = task.training_step(batch, 0), task.training_step(batch, 0)
    assert torch.equal(first, second)  # no dropout
    task.backward(first)
    learned = {name for name, p in task.model.named_parameters() if p.grad is not None}
    assert learned == {"classifier.weight", "classifier.bias"}
    assert task.model.training
    assert not any(module.training for module in task.model.hidden.modules())


def test_a_regular_expression_chooses():
    task, _ = built(r"method.freeze.train='hidden\.0|classifier'")
    trained = {name for name, p in task.model.named_parameters() if p.requires_grad}
    assert trained == {"hidden.0.weight", "hidden.0.bias", "classifier.weight", "classifier.bias"}


@pytest.mark.slow
def test_a_run_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    config = spec_of(
        [
            *DIGITS,
            "trainer=cpu",
            "trainer.max_steps=5",
            "trainer.enable_progress_bar=false",
            "trainer.log_every_n_steps=5",
            f"out={tmp_path}",
            "parent=['trainer.max_steps=0']",
        ]
    )
    summary = execute(config, print)
    assert summary.status == "finished", summary.error
    states = []
    for one in (config.origins["parent"], config):
        (path,) = Run(one).checkpoints()
        states.append(torch.load(path, weights_only=True)["state_dict"])
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]) == name.startswith("model.hidden"), name


def test_refuses():
    with pytest.raises(ValueError, match=r"method.freeze.train='\(': missing"):
        Freeze("(")
    with pytest.raises(UserError, match="'head' matches no parameter; the model's begin with hid"):
        built("method.freeze.train=head")
