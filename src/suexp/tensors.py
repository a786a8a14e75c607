"""Files of tensors, read without trust: nothing in them is run, and no size in them is believed."""

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from suexp.errors import UserError

MORE_THAN_WEIGHTS = "holds more than weights and state, of which nothing was run"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` or a torch file; their pages are read when used.

    Raises:
        UserError: the file is damaged, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=is_archive(path))
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} is damaged, or {MORE_THAN_WEIGHTS}") from error
    except Exception as error:  # both libraries have many words for it
        raise UserError(
            f"{path} is damaged or cut short ({_reason(error)}); copy it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise UserError(f"{path} holds more than a name and a tensor each; save model.state_dict()")
    return state


def is_archive(path: Path) -> bool:
    """Tell whether a torch file is a ZIP archive, as all since torch 1.6.

    Raises:
        ValueError: it is a packed one, which torch never writes and which may grow without bound.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        if any(entry.file_size != entry.compress_size for entry in file.infolist()):
            raise ValueError("its parts are packed, which torch's own never are")
    return True


def first_with(bad: Callable[[Tensor], Tensor], state: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor of which a number is bad (`torch.isnan`), or None."""
    numbers = ((n, x) for n, x in state.items() if isinstance(x, Tensor) and x.is_floating_point())
    return next((name for name, value in numbers if bad(value).any()), None)


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
