"""A checkpoint's folder: its config.json and its tensors, of which nothing is believed."""

import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from suexp.code.local_files import local_path, looks_local
from suexp.errors import UserError
from suexp.tensors import read_tensors

INDEX = "model.safetensors.index.json"
WEIGHTS = ("model.safetensors", INDEX, "pytorch_model.bin")
FILES = ("config.json", "model*.safetensors", INDEX, "pytorch_model.bin")
# TensorFlow's, and Keras's, in which bert4keras saves.
TENSORFLOW, KERAS = ("*.ckpt*.index", "*.ckpt.data-*", "*.ckpt.meta"), ("*.h5", "*.weights")
# Names of 100,000 labels take 6 MiB.
LARGEST_JSON = 2**24


def locate(source: str, revision: str | None) -> Path:
    """Return the folder of this name, or that of the hub's checkpoint.

    Raises:
        UserError: there is neither.
    """
    folder = local_path("transform.source", source)
    if folder.is_dir():
        return folder
    if looks_local(source):
        raise UserError(f"transform.source: no folder {source}")
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(source, revision=revision, allow_patterns=["vocab.txt", *FILES])
    except Exception as error:  # of a dozen classes, over several lines
        reason = " ".join(str(error).split())
        raise UserError(f"{source} is no folder, and the hub says: {reason}") from error
    return Path(found)


def refuse_tensorflow(folder: Path) -> None:
    """Refuse a folder that holds TensorFlow's or Keras's weights alone; say how to convert them.

    Raises:
        UserError: it does.
    """
    if any((folder / name).is_file() for name in WEIGHTS):
        return
    for pattern in TENSORFLOW:
        for path in sorted(folder.glob(pattern)):
            stem = re.sub(r"\.(index|meta|data-.*)$", "", path.name)
            raise UserError(
                f"{folder} holds {path.name}, a checkpoint of TensorFlow; convert it (pip install "
                "tensorflow 'transformers<5') and copy vocab.txt to it: python -c \"from "
                "transformers import BertConfig, BertForPreTraining, load_tf_weights_in_bert as "
                f"load; m = BertForPreTraining(BertConfig.from_json_file('{folder}/bert_config."
                f"json')); load(m, m.config, '{folder}/{stem}'); m.save_pretrained("
                f"'{folder}-torch')\""
            )
    for pattern in KERAS:
        for path in sorted(folder.glob(pattern)):
            raise UserError(
                f"{folder} holds {path.name}, weights of Keras; save them as a checkpoint with "
                "bert4keras's save_weights_as_checkpoint('bert_model.ckpt'), whose conversion is "
                "told then, or take the hub's edition of the model"
            )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a small file.

    Raises:
        UserError: it is missing, too large, too deep, or holds something else.
    """
    try:
        if not path.is_file():
            raise OSError("there is no such file")
        with path.open("rb") as file:
            text = file.read(LARGEST_JSON + 1)
        if len(text) > LARGEST_JSON:
            raise ValueError(f"it is larger than {LARGEST_JSON >> 20} MiB")
        found = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no settings")
    return found


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, under the names that it has.

    Raises:
        UserError: there are none, or they are damaged.
    """
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{folder} has none of {', '.join(WEIGHTS)}")
    return _shards(path) if path.name == INDEX else read_tensors(path)


def _shards(index: Path) -> dict[str, Tensor]:
    """Return the tensors of several files, each from the one that the index names."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(x, str) for x in places.values()):
        raise UserError(f"{index} has no weight_map from tensors to files")
    state: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        file = index.parent / name
        if not _is_name(name) or not _lies_in(file, index.parent):
            raise UserError(
                f"{index} leads out of its folder, to {name[:80]!r}; it is not followed"
            )
        if not file.is_file():
            raise UserError(f"{index} names {name}, which is missing; download it again")
        state |= {k: v for k, v in read_tensors(file).items() if places.get(k) == name}
    if missing := sorted(set(places) - set(state)):
        raise UserError(f"{index} promises {missing[0][:80]!r}, which {places[missing[0]]} lacks")
    return state


def _is_name(name: str) -> bool:
    return name.endswith(".safetensors") and not {"/", "\\", "\0"} & set(name)


def _lies_in(file: Path, folder: Path) -> bool:
    """Tell whether a file is the folder's own; of the hub's cache, whose files are links, that."""
    home = folder.resolve()
    homes = {home, home.parent.parent / "blobs"} if home.parent.name == "snapshots" else {home}
    return file.resolve().parent in homes
