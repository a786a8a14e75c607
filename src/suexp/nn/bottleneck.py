"""A state that is passed on as a code of few numbers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.nn.latent import Drawn, Latent
from suexp.nn.linear import Linear


class Bottleneck(nn.Module):
    r"""$h \leftarrow W^\uparrow z$, $z = \mathrm{draw}(W^\downarrow h)$: a state through a code.

    Shapes: h (b, dim), z (b, latent_dim).

    Args:
        dim: size of the state.
        latent: what makes the code.
        bias: biases in both maps.
    """

    def __init__(self, dim: int, latent: Latent, bias: bool) -> None:
        super().__init__()
        self.down = Linear(dim, latent.size, bias)
        self.latent = latent
        self.up = Linear(latent.dim, dim, bias)

    def forward(
        self, x: Float[Tensor, "b c"], code: Float[Tensor, "b d"] | None, sample: bool
    ) -> tuple[Float[Tensor, "b c"], Drawn]:
        """Return the state that the code gives, and the code: a given one, or what x says."""
        if code is None:
            said = self.down(x)
            with torch.autocast(x.device.type, enabled=False):
                drawn = self.latent(said, sample)
        else:
            zero = x.new_zeros(len(x))
            drawn = Drawn(code, zero, zero)
        return self.up(drawn.code.to(self.up.weight.dtype)).to(x.dtype), drawn
