"""Batch normalisation without the division."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from suexp.component import Component
from suexp.norm._moments import BatchMoment


class BatchCenter(BatchMoment, Component):
    r"""$y = g \odot (x - \mu) + b$ with the batch's mean $\mu$ of each feature.

    Of all shifts it makes $E|x - \mu|^2$ the least, and with it the bound on how curved the loss of
    the next layer is; the layer's bias could have done the same, so that the functions are those
    without a norm. Gradients flow through $\mu$. Evaluation uses the running mean.

    Shapes: x and y (..., dim), $\mu$, gain g and bias b (dim,).

    Post: https://kexue.fm/archives/6992. Paper: Santurkar et al., How Does Batch Normalization Help
    Optimization?, arXiv:1805.11604.

    Args:
        dim: size of the last axis.
        momentum: weight of the newest batch in the running mean.
        affine: whether g and b are there.
        detach_stats: no gradient through $\mu$, which is another method.

    Raises:
        ValueError: dim below 1, momentum outside [0, 1]; when called in training, a single row.

    Example:
        >>> import torch
        >>> from suexp.norm import BatchCenter
        >>> BatchCenter(2, affine=False)(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        tensor([[-1.,  0.],
                [ 1.,  0.]])
    """

    option: ClassVar[str] = "batch_center"
    start: ClassVar[float] = 0.0

    def __init__(
        self, dim: int, momentum: float = 0.1, affine: bool = True, detach_stats: bool = False
    ) -> None:
        super().__init__(dim, momentum, affine, detach_stats)

    def sized(self, dim: int) -> "BatchCenter":
        """Return such a norm of another size."""
        return type(self)(dim, self.momentum, self.affine, self.detach_stats)

    def statistic(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, " d"]:
        """Return the mean."""
        return rows.mean(0)

    def changed(self, rows: Float[Tensor, "b d"], s: Float[Tensor, " d"]) -> Float[Tensor, "b d"]:
        """Subtract it."""
        return rows - s
