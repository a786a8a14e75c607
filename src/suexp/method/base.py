"""The contract of every method."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from suexp.component import Component
from suexp.decoding.base import Constraint

if TYPE_CHECKING:
    from suexp.task.base import Task

Batch = dict[str, Tensor]
Objective = Callable[[Batch], Tensor]
Backward = Callable[[Tensor], None]


class Skip(Exception):
    """Raised by an objective that has nothing to learn in this step: no gradient, no update."""


class Method(nn.Module, Component):
    """Wraps a task's training without the task knowing it; each hook's default changes nothing.

    Several methods compose: the one with the smallest `order` is nearest to the task, the others
    wrap around it. `attach` is called when the task has been built, before any weights are loaded;
    `adopt` when the parent's weights have been transferred; then, for every step, `objective`,
    `backward` and, after the optimizer's step, `after_step`. Evaluation passes through none.

    What a method keeps as parameters or buffers is saved with the run; the parent's weights should
    not be, for they can be had again. Its parameters are trained as the model's are, and `fold`
    writes what they learned into the networks, from which other runs start.

    Attributes:
        order: place among the methods of a run. -100: what the task's own loss is taken apart by;
            -50: what changes the batch that the task reads; -10: what differentiates the loss of
            one pass and adds to it; 0: the others; 10: what passes the batch several times, and
            differentiates all that it wraps; 100: what cuts the batch into several for all others.
        leaves_unused: whether some steps leave trainable parameters without a gradient, which
            several processes must know.
    """

    order: ClassVar[int] = 0
    leaves_unused: ClassVar[bool] = False

    def attach(self, task: "Task") -> None:
        """Change the task's networks: wrap one, add adapters, remove what does not train.

        Raises:
            ValueError: the networks do not allow it; one line.
        """

    def adopt(self, task: "Task", origins: "Mapping[str, Task]") -> None:
        """Look at the runs that this one needs, which belong to nobody else.

        Args:
            task: what is trained.
            origins: their tasks, trained; that of the parent is ``parent`` (see `suexp.origins`).

        Raises:
            ValueError: one is missing, or does not fit.
        """

    def fold(self, task: "Task") -> None:
        """Write what was learned into the task's networks: a run that starts from them has no more.

        Called when the run has ended and its weights are loaded, for another run to start from.

        Raises:
            ValueError: it cannot; by default where it has parameters of its own.
        """
        del task
        if any(True for _ in self.parameters()):
            raise ValueError(
                f"{type(self).__name__} learned weights of its own, which a run that starts from "
                "the network alone would lose; give it a `fold` that writes them into the network"
            )

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the training loss of a batch; ``inner`` gives the one that is wrapped.

        Raises:
            Skip: this step is left out; the schedule goes on.
        """
        del task
        return inner(batch)

    def backward(self, task: "Task", loss: Tensor, inner: Backward) -> None:
        """Leave gradients behind; ``inner`` does the wrapped pass."""
        del task
        inner(loss)

    def alike(self, task: "Task", batch: Batch, step: int) -> Hashable:
        """Return what the steps that cost the same have in common; by default they all do.

        Args:
            task: what is trained.
            batch: as large as the step's.
            step: how many steps there were before.
        """
        del task, batch, step
        return None

    def constraints(self, task: "Task", batch: Batch) -> Sequence[Constraint]:
        """Return what constrains the targets that are written for a batch's sources."""
        del task, batch
        return ()

    def after_step(self, task: "Task") -> None:
        """Act on the networks after a step of any of the task's optimizers."""
