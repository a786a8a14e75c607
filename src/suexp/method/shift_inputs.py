"""Training data that change their distribution at a step."""

from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from suexp.errors import at_least, one_of
from suexp.method.base import Batch, Method, Objective

if TYPE_CHECKING:
    from suexp.task.base import Task

Kind = Literal["invert", "permute_inputs", "permute_labels"]


class ShiftInputs(Method):
    r"""From step ``at_step`` on the network trains on changed rows; validation stays as it is.

        ``invert``: $x \leftarrow l + h - x$, light for dark, for inputs in [l, h]
        ``permute_inputs``: $x_i \leftarrow x_{\pi(i)}$, one permutation of the features
        ``permute_labels``: $y \leftarrow \pi(y)$, one permutation of the classes

    How soon the training loss falls again tells how fast an optimizer adapts. Steps count from 0;
    the permutation depends on the seed alone, so that a resumed run meets the same.

    Shapes: x (b, ..., features), y (b,).

    References: https://kexue.fm/archives/8968; Amid et al., Step-size Adaptation Using
    Exponentiated Gradient Updates, arXiv:2202.00145, whose inputs are shifted so.

    Args:
        at_step: the first step with changed rows.
        kind: what is changed.
        low: l, 0 as pixels are.
        high: h, 1 as pixels are.
        seed: of the permutation.

    Raises:
        ValueError: a negative at_step, high below low, an unknown kind; rows without inputs or
            labels of that kind.
    """

    needs: ClassVar[dict[str, str]] = {
        "labels": "it changes the rows of labelled data; use task=classification",
        "vectors if kind=invert": "it changes x; use data=digits with model=mlp",
        "vectors if kind=permute_inputs": "it changes x; use data=digits with model=mlp",
    }

    def __init__(
        self,
        at_step: int,
        kind: Kind = "invert",
        low: float | int = 0.0,
        high: float | int = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        at_least(0, at_step=at_step)
        one_of(get_args(Kind), kind=kind)
        if high < low:
            raise ValueError(f"high={high} lies below low={low}")
        self.at_step, self.kind, self.low, self.high, self.seed = at_step, kind, low, high, seed
        self._order: Tensor | None = None

    def attach(self, task: "Task") -> None:
        """Draw the permutation.

        Raises:
            ValueError: the data has no such rows.
        """
        sizes = task.data.sizes
        name = "num_classes" if self.kind == "permute_labels" else "input_dim"
        if name not in sizes:
            raise ValueError(
                f"method=shift_inputs: kind={self.kind} changes vectors, which these data are not; "
                "use kind=permute_labels"
            )
        drawn = np.random.default_rng([self.seed, 1]).permutation(sizes[name])
        self._order = torch.from_numpy(drawn)

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss of the rows, changed once it is time."""
        return inner(batch if task.global_step < self.at_step else self.changed(batch))

    def changed(self, batch: Batch) -> Batch:
        """Return a batch as it is from ``at_step`` on."""
        if self.kind == "invert":
            return {**batch, "x": self.low + self.high - batch["x"]}
        assert self._order is not None
        if self.kind == "permute_inputs":
            return {**batch, "x": batch["x"][..., self._order.to(batch["x"].device)]}
        return {**batch, "label": self._order.to(batch["label"].device)[batch["label"]]}
