"""Random displacements of what the model reads: the control of adversarial training."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from suexp.method._perturbation import Granularity, Norm, Perturbing
from suexp.method.base import Batch, Objective
from suexp.nn.intervene import Reading, shifted

if TYPE_CHECKING:
    from suexp.task.base import Task


class EmbeddingNoise(Perturbing):
    r"""$L(x + \epsilon\, u / \|u\|)$ with $u \sim N(0, I)$: a step in a random direction.

    As long as a step of `suexp.method.fgm.FGM` with the same settings, so that only the direction
    differs. x are the vectors (b, n, dim) of the tokens, or the model's input; where the model
    reads two texts of a row, each moves by itself. Padding does not move.

    Reference: the beginning of https://kexue.fm/archives/7466; Bishop, Training with Noise is
    Equivalent to Tikhonov Regularization, https://doi.org/10.1162/neco.1995.7.1.108.

    Example:
        >>> EmbeddingNoise(epsilon=1.0, granularity="sample").norm
        'l2'

    Args:
        epsilon: the step's length; 0: the plain loss.
        granularity: what has one norm: ``matrix``, ``sample`` or ``token``.
        norm: ``l2``, or ``linf``: signs.

    Raises:
        ValueError: a value out of range; when attached, ``matrix`` without an embedding.
    """

    def __init__(
        self,
        epsilon: float | int = 1.0,
        granularity: Granularity = "matrix",
        norm: Norm = "l2",
    ) -> None:
        super().__init__(epsilon, granularity, norm)

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss beside the batch."""
        if self.epsilon == 0 or not torch.is_grad_enabled():
            return inner(batch)

        def shift(reading: Reading) -> Tensor:
            ball = self.ball(task, [reading])
            return ball.push([self.epsilon * part for part in ball.unit(ball.drawn())])[0]

        with shifted(task.model, shift) as readings:
            loss = inner(batch)
        self.ball(task, readings)
        return loss
