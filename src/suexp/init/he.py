"""He's initialisation."""

from torch import Tensor

from suexp.init.base import Init


class He(Init):
    r"""$w \sim N(0, 2 g^2 / \mathrm{fan\_in})$: keeps the second moment through relu.

    Relu sets half of a symmetric input to 0, hence the 2. Shapes: matrices (fan_out, fan_in).

    References: He et al., Delving Deep into Rectifiers, arXiv:1502.01852;
    https://kexue.fm/archives/7180.

    Args:
        gain: g.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.

    Raises:
        ValueError: a gain or standard deviation that is not above 0.
    """

    def __init__(self, gain: float = 1.0, embedding_std: float | None = None) -> None:
        super().__init__(gain, embedding_std)

    def matrix(self, weight: Tensor) -> None:
        """Draw from the normal distribution."""
        weight.normal_(0.0, self.gain * (2 / weight.shape[1]) ** 0.5)
