"""Batch normalisation."""

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least, between
from suexp.norm._eps import ScalableEps


class Batch(ScalableEps, nn.BatchNorm1d, Component):
    r"""$y = g \odot (x - \mu) / \sqrt{\sigma^2 + \epsilon} + b$ with statistics of the batch.

    Mean and variance of each feature are those over all leading axes; evaluation uses their running
    averages. Shapes: x and y (..., dim), gain g and bias b (dim,).

    Since the statistics couple the rows of a batch, a gradient that is accumulated over parts of it
    differs from that of the whole (https://kexue.fm/archives/8471).

    Reference: Ioffe & Szegedy, arXiv:1502.03167; https://kexue.fm/archives/6992.

    Args:
        dim: size of the last axis.
        eps: $\epsilon$.
        momentum: weight of the newest batch in the running averages.
        affine: whether g and b are there.

    Raises:
        ValueError: dim below 1; when called in training, a single value for each feature.
    """

    def __init__(
        self, dim: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
    ) -> None:
        at_least(1, dim=dim)
        at_least(0, eps=eps)
        between("[0, 1]", momentum=momentum)
        super().__init__(dim, eps=eps, momentum=momentum, affine=affine)

    def sized(self, dim: int) -> "Batch":
        """Return such a norm of another size."""
        return type(self)(dim, self.given_eps, self.momentum or 0.0, self.affine)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Return y, computed in float32 at least and given back in the type of x."""
        rows = x.reshape(-1, x.shape[-1])
        if self.training and len(rows) < 2:
            raise ValueError("norm=batch needs more than one row in training; use norm=layer")
        assert self.running_mean is not None
        kept = self.running_mean  # in the layer's own type, float32 under autocast
        assert kept is not None
        return super().forward(rows.to(kept.dtype)).view_as(x).to(x.dtype)
