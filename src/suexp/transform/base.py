"""The contract of every transform, and the strict copy that they share."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from suexp.component import Component

State = Mapping[str, Any]


class Transform(Component):
    """Writes a trained parent's weights into a freshly built child, before the child's run starts.

    Parent and child are the two runs' models, whatever their architectures; an option says which
    pairs it can join.
    """

    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Change the child in place; the parent is left as it is.

        Raises:
            ValueError: the two do not fit together; one line names the tensors.
        """
        raise NotImplementedError


def copy_exactly(name: str, parent: State, child: nn.Module, skip: frozenset[str]) -> None:
    """Copy the parent's state into the child; but for ``skip``, names and shapes must be equal.

    Args:
        name: of the transform, for the message.
        parent: the state to copy.
        child: the module to write to.
        skip: entries that may be missing on either side and stay as they are in the child.

    Raises:
        ValueError: names or shapes differ; the first three differences are named.
    """
    given = {key: value for key, value in parent.items() if key not in skip}
    wanted = {key: value for key, value in child.state_dict().items() if key not in skip}
    faults = [f"{key} is missing in the parent" for key in wanted if key not in given]
    faults += [f"{key} is missing in the child" for key in given if key not in wanted]
    faults += [
        f"{key} is {_shape(given[key])} in the parent and {_shape(wanted[key])} in the child"
        for key in wanted
        if key in given and _shape(given[key]) != _shape(wanted[key])
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ValueError(f"transform={name}: {'; '.join(faults[:3])}{more}")
    with torch.no_grad():
        child.load_state_dict(given, strict=False)


def _shape(value: object) -> str:
    return " x ".join(map(str, value.shape)) or "a number" if isinstance(value, Tensor) else "data"
