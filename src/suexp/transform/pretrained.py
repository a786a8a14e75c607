"""Start from a checkpoint in the hub's format."""

import json
import pickle
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from suexp.code.local_files import local_path, looks_local
from suexp.errors import UserError
from suexp.transform._names import NAMES, SETTINGS
from suexp.transform.base import Transform

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# What a task may have that the checkpoint was not trained with, or the other way round.
OPTIONAL = ("classifier.", "head.", "pooler.")


class Pretrained(Transform):
    r"""$\theta \leftarrow \theta_{checkpoint}$: weights of BERT or GPT-2 as the hub names them.

    The folder holds ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``, read
    without running any code in it). The model must have the checkpoint's sizes and kinds, which a
    refusal lists as overrides; of its positions the first ``max_length`` are taken. An output layer
    that the checkpoint lacks stays as it was drawn; one that the model lacks is left out. Logits
    equal those of `transformers` to 1e-5.

    References: Devlin et al., BERT, arXiv:1810.04805; Radford et al., Language Models are
    Unsupervised Multitask Learners; https://huggingface.co/docs/safetensors.

    Args:
        source: a folder, or the hub's name of a checkpoint, which is downloaded if there is no such
            folder.
        revision: a commit or tag of the hub; null: the newest.

    Raises:
        ValueError: no source, or a run that has a parent, too.
        UserError: a file that is missing or damaged, or another architecture.
    """

    paths: ClassVar[dict[str, tuple[str, ...]]] = {
        "source": ("config.json", "model.safetensors", "pytorch_model.bin")
    }

    def __init__(self, source: str | None = None, revision: str | None = None) -> None:
        if not source:
            raise ValueError("transform.source is not set; name a checkpoint's folder")
        self.source, self.revision = source, revision

    def __call__(self, parent: nn.Module | None, child: nn.Module) -> None:
        """Load the checkpoint.

        Raises:
            ValueError: there is a parent, whose weights would be overwritten.
        """
        if parent is not None:
            raise ValueError(
                "transform=pretrained replaces all weights: leave out parent=[...], or let the "
                "parent start from the checkpoint"
            )
        self.load(child)

    @torch.no_grad()
    def load(self, model: nn.Module) -> None:
        """Overwrite the model's weights.

        Raises:
            UserError: a file that is missing or damaged, or another architecture.
        """
        folder = _folder(self.source, self.revision)
        config = _config(folder)
        kind = config.get("model_type")
        if kind not in NAMES:
            raise UserError(
                f"{folder}: a checkpoint of {kind or 'an unknown kind'}; "
                f"what can be read is {', '.join(NAMES)}"
            )
        state = NAMES[kind](_weights(folder))
        settings = " ".join(f"{k}={v}" for k, v in SETTINGS[kind](config).items())
        own = model.state_dict()
        for name, value in own.items():
            found = state.get(name)
            if found is None:
                if name.startswith(OPTIONAL):
                    continue
                raise UserError(f"{folder} has no {name}; a model that fits it has {settings}")
            if name == "position.embedding.weight" and len(found) > len(value):
                state[name] = found = found[: len(value)]
            if found.shape != value.shape:
                if name.startswith("classifier."):
                    del state[name]  # of another task
                    continue
                raise UserError(
                    f"{folder}: {name} has shape {tuple(found.shape)}, the model's has "
                    f"{tuple(value.shape)}; a model that fits it has {settings}"
                )
        for name in state:
            if name not in own and not name.startswith((*OPTIONAL, "segment_embedding.")):
                raise UserError(
                    f"{folder} has {name}, the model has not; a model that fits it has {settings}"
                )
        model.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)


def _folder(source: str, revision: str | None) -> Path:
    folder = local_path("transform.source", source)
    if folder.is_dir():
        return folder
    if looks_local(source):
        raise UserError(f"transform.source: no folder {source}")
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            source, revision=revision, allow_patterns=["config.json", "vocab.txt", *WEIGHTS]
        )
    except Exception as error:  # of a dozen classes, over several lines
        reason = " ".join(str(error).split())
        raise UserError(f"{source} is no folder, and the hub says: {reason}") from error
    return Path(found)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no settings")
    return config


def _weights(folder: Path) -> dict[str, Tensor]:
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{folder} has none of {', '.join(WEIGHTS)}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than weights, or is damaged; nothing in it was run"
        ) from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged or cut short ({reason}); copy it again") from error
    return state
