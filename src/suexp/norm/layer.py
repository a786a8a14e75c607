"""Layer normalisation."""

from torch import nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.norm._eps import ScalableEps


class Layer(ScalableEps, nn.LayerNorm, Component):
    r"""$y = g \odot (x - \mu) / \sqrt{\sigma^2 + \epsilon} + b$.

    Mean and variance are those of the last axis; the variance divides by dim, not dim - 1.
    Shapes: x and y (..., dim), gain g and bias b (dim,).

    Reference: Ba et al., Layer Normalization, arXiv:1607.06450.

    Args:
        dim: size of the last axis.
        eps: $\epsilon$, 1e-5 as in GPT-2 (BERT: 1e-12).
        bias: whether b is there.

    Raises:
        ValueError: dim below 1.
    """

    def __init__(self, dim: int, eps: float = 1e-5, bias: bool = True) -> None:
        at_least(1, dim=dim)
        at_least(0, eps=eps)
        super().__init__(dim, eps=eps, bias=bias)

    def sized(self, dim: int) -> "Layer":
        """Return such a norm of another size."""
        return type(self)(dim, self.given_eps, self.bias is not None)
