"""Copies of a prototype, one for each place in a network."""

import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def clone(prototype: M) -> M:
    """Return a copy that shares nothing; random state is drawn anew by ``reset_parameters``."""
    module = copy.deepcopy(prototype)
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
    return module
