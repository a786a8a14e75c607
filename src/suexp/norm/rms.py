"""Root-mean-square normalisation."""

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.norm._eps import ScalableEps


class RMS(ScalableEps, nn.RMSNorm, Component):
    r"""$y = g \odot x / \sqrt{\frac1d \sum_i x_i^2 + \epsilon}$: no mean, no bias.

    Shapes: x and y (..., dim), gain g (dim,).

    Reference: Zhang & Sennrich, Root Mean Square Layer Normalization, arXiv:1910.07467.

    Args:
        dim: size d of the last axis.
        eps: $\epsilon$; 1e-6 as in T5 and LLaMA (the paper has none).

    Raises:
        ValueError: dim below 1.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        at_least(1, dim=dim)
        at_least(0, eps=eps)
        super().__init__(dim, eps=eps)

    def sized(self, dim: int) -> "RMS":
        """Return such a norm of another size."""
        return type(self)(dim, self.given_eps)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Return y, computed in the gain's type and given back in that of x."""
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)
