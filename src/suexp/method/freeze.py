"""Train a part of a network, leave the rest as it is."""

import re
from typing import TYPE_CHECKING

from torch import Tensor, nn

from suexp.method.base import Batch, Method, Objective

if TYPE_CHECKING:
    from suexp.task.base import Task


class Freeze(Method):
    r"""$\theta_i \leftarrow \theta_i - \eta\,\Delta_i$ for the chosen parameters only.

    The others, of any shape, get no gradient and no state of the optimizer, and modules without a
    chosen parameter are in evaluation mode: their dropout is off and their running means stand
    still. With the classifier alone it is a linear probe of the features (b, dim) before it. The
    loss's own parameters, where it has some, are trained.

    Reference: Alain and Bengio, Understanding intermediate layers using linear classifier probes,
    arXiv:1610.01644; the baseline of https://kexue.fm/archives/8578.

    Args:
        train: regular expression; the parameters whose names it matches from their start are
            trained (``classifier``, ``blocks\.1|classifier``).

    Raises:
        ValueError: no regular expression; when attached, one that no parameter matches.
    """

    def __init__(self, train: str = "classifier") -> None:
        super().__init__()
        try:
            self.pattern = re.compile(train)
        except re.error as error:
            raise ValueError(f"method.freeze.train={train!r}: {error}") from error
        self._still: list[nn.Module] = []

    def attach(self, task: "Task") -> None:
        """Turn off the gradients of the chosen parts.

        Raises:
            ValueError: nothing would be trained.
        """
        names = [name for name, _ in task.model.named_parameters()]
        if not any(map(self.pattern.match, names)):
            parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            raise ValueError(
                f"method.freeze.train={self.pattern.pattern!r} matches no parameter; the model's "
                f"begin with {parts}"
            )
        for name, parameter in task.model.named_parameters():
            parameter.requires_grad_(bool(self.pattern.match(name)))
        self._still = [
            module
            for module in task.model.modules()
            if not any(parameter.requires_grad for parameter in module.parameters())
        ]

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Keep the frozen modules in evaluation mode, which an epoch's start would end."""
        del task
        for module in self._still:
            module.training = False
        return inner(batch)
