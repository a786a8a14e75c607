"""The contract of every transform."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from suexp.component import Component
from suexp.transform._settings import unseen

if TYPE_CHECKING:
    from suexp.task.base import Task


class Transform(Component):
    """Writes a trained parent's weights into a freshly built child, before the child trains.

    Attributes:
        keeps: whether the parent's layers are to compute in the child what they did. Attention and
            mask are what experiments swap; the rest must be equal where no shape tells.
    """

    keeps: ClassVar[bool] = True

    def start(self, task: "Task", origin: "Task | None") -> dict[str, float] | None:
        """Change a task's model in place; by default from its origin's network alone.

        Args:
            task: what is to be trained.
            origin: the parent's task, trained, with its data; None where the run names none.

        Raises:
            ValueError: there is no parent, or the two do not fit; one line.
        """
        return self(None if origin is None else origin.model, task.model)

    def __call__(self, parent: nn.Module | None, child: nn.Module) -> dict[str, float] | None:
        """Change the child in place; ``parent`` is None where the run names none.

        What `apply` returns is returned; the run keeps it among its final metrics.

        Raises:
            ValueError: there is no parent, or the two do not fit; one line.
        """
        if parent is None:
            raise ValueError(
                f"{type(self).__name__} starts from another run's weights: name that run with "
                "parent=[...], or leave the transform out"
            )
        if self.keeps and (complaint := unseen(parent, child)):
            raise ValueError(complaint)
        return self.apply(parent, child)

    def apply(self, parent: nn.Module, child: nn.Module) -> dict[str, float] | None:
        """Change the child in place; return what was measured meanwhile, by metric.

        Raises:
            ValueError: the two do not fit; one line that names the first tensor in question.
        """
        raise NotImplementedError


def mismatch(parent: dict[str, Tensor], child: dict[str, Tensor]) -> str | None:
    """Return what keeps a state from being copied into another, or None."""
    for name, value in child.items():
        if name not in parent:
            return f"the child has {name}, its parent has not"
        if parent[name].shape != value.shape:
            ours, theirs = tuple(value.shape), tuple(parent[name].shape)
            return f"{name} has shape {ours} in the child and {theirs} in its parent"
    for name in parent:
        # A norm's state has its factor where it is not 1, and loads it in either case.
        if name not in child and not name.endswith(".eps_factor"):
            return f"the parent has {name}, its child has not"
    return _torn(parent, child)


def _torn(parent: dict[str, Tensor], child: dict[str, Tensor]) -> str | None:
    """Return which values would be lost, where one tensor of the child is several in its parent."""
    firsts: dict[tuple[int, torch.Size], str] = {}
    for name, value in child.items():
        if value.numel() and value.device.type != "meta":
            first = firsts.setdefault((value.data_ptr(), value.shape), name)
            if first != name and not torch.equal(parent[first], parent[name]):
                return (
                    f"{first} and {name} are one tensor in the child, which shares it between "
                    "layers, and two different ones in its parent"
                )
    return None
