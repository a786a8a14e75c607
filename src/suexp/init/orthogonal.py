"""Orthogonal initialisation."""

from torch import Tensor, nn

from suexp.init.base import Init


class Orthogonal(Init):
    r"""$W^\top W = g^2 I$ (tall) or $W W^\top = g^2 I$ (wide): lengths are kept exactly.

    W is uniform over such matrices: Q of a Gaussian matrix's QR decomposition, its signs fixed by
    the diagonal of R. Shapes: matrices (fan_out, fan_in), in a fused layer each block by itself.

    References: Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks, arXiv:1312.6120; https://kexue.fm/archives/7180.

    Args:
        gain: g; $\sqrt 2$ makes up for relu.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.

    Raises:
        ValueError: a gain or standard deviation that is not above 0.
    """

    def __init__(self, gain: float = 1.0, embedding_std: float | None = None) -> None:
        super().__init__(gain, embedding_std)

    def matrix(self, weight: Tensor) -> None:
        """Draw a matrix with orthogonal rows or columns."""
        nn.init.orthogonal_(weight, self.gain)
