"""Batch normalisation without the subtraction."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from suexp.component import Component
from suexp.norm._moments import BatchMoment


class BatchScale(BatchMoment, Component):
    r"""$y = g \odot x / \sqrt{E[x^2] + \epsilon} + b$ with the batch's mean square of each feature.

    RMS normalisation, over the batch instead of the features: coordinates of one size, whose
    weights get gradients of one size. Gradients flow through the mean square. Evaluation uses its
    running average.

    Shapes: x and y (..., dim), $E[x^2]$, gain g and bias b (dim,).

    Post: https://kexue.fm/archives/6992. Paper: Santurkar et al., How Does Batch Normalization Help
    Optimization?, arXiv:1805.11604.

    Args:
        dim: size of the last axis.
        eps: $\epsilon$.
        momentum: weight of the newest batch in the running average.
        affine: whether g and b are there.
        detach_stats: no gradient through the mean square, which is another method.

    Raises:
        ValueError: dim below 1, eps not above 0, momentum outside [0, 1]; when called in training,
            a single row.

    Example:
        >>> import torch
        >>> from suexp.norm import BatchScale
        >>> BatchScale(2, eps=1e-12, affine=False)(torch.tensor([[3.0, 5.0], [4.0, -5.0]]))
        tensor([[ 0.8485,  1.0000],
                [ 1.1314, -1.0000]])
    """

    option: ClassVar[str] = "batch_scale"
    start: ClassVar[float] = 1.0

    def __init__(
        self,
        dim: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        detach_stats: bool = False,
    ) -> None:
        super().__init__(dim, momentum, affine, detach_stats)
        if not eps > 0:
            raise ValueError(f"eps={eps} must be above 0")
        self.eps = eps

    def sized(self, dim: int) -> "BatchScale":
        """Return such a norm of another size."""
        return type(self)(dim, self.eps, self.momentum, self.affine, self.detach_stats)

    def statistic(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, " d"]:
        """Return the mean square."""
        return rows.square().mean(0)

    def changed(self, rows: Float[Tensor, "b d"], s: Float[Tensor, " d"]) -> Float[Tensor, "b d"]:
        """Divide by its root."""
        return rows * (s + self.eps).rsqrt()
