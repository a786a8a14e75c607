"""Orthogonal initialisation."""

from torch import Tensor, nn

from suexp.init.base import Init, Parametrization


class Orthogonal(Init):
    r"""$W^\top W = g^2 I$ (tall) or $W W^\top = g^2 I$ (wide): lengths are kept exactly.

    W is uniform over such matrices: Q of a Gaussian matrix's QR decomposition, its signs fixed by
    the diagonal of R. Shapes: matrices (fan_out, fan_in), in a fused layer each block by itself.

    References: Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks, arXiv:1312.6120; https://kexue.fm/archives/7180.

    Args:
        gain: g; $\sqrt 2$ makes up for relu.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: an unknown parametrization; a gain or standard deviation not above 0.
    """

    def __init__(
        self,
        gain: float = 1.0,
        embedding_std: float | None = None,
        parametrization: Parametrization = "standard",
    ) -> None:
        super().__init__(gain, embedding_std, parametrization)

    def std(self, fan_out: int, fan_in: int) -> float:
        """Return the size of the entries: a row's or column's length spread over them."""
        return self.gain * max(fan_out, fan_in) ** -0.5

    def matrix(self, weight: Tensor) -> None:
        """Draw a matrix with orthogonal rows or columns."""
        nn.init.orthogonal_(weight, self.gain)
