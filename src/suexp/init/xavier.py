"""Xavier's (Glorot's) initialisation."""

from torch import Tensor

from suexp.init.base import Init


class Xavier(Init):
    r"""$w \sim N(0, 2 g^2 / (\mathrm{fan\_in} + \mathrm{fan\_out}))$, a compromise of both passes.

    Keeping the variance of activations asks for 1/fan_in, that of gradients for 1/fan_out. Shapes:
    matrices (fan_out, fan_in).

    References: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
    networks, https://proceedings.mlr.press/v9/glorot10a.html; https://kexue.fm/archives/7180.

    Args:
        gain: g; 1 suits activations that are linear near 0.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.

    Raises:
        ValueError: a gain or standard deviation that is not above 0.
    """

    def __init__(self, gain: float = 1.0, embedding_std: float | None = None) -> None:
        super().__init__(gain, embedding_std)

    def matrix(self, weight: Tensor) -> None:
        """Draw from the normal distribution."""
        fan_out, fan_in = weight.shape
        weight.normal_(0.0, self.gain * (2 / (fan_in + fan_out)) ** 0.5)
