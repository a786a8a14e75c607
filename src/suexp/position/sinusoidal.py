"""Sinusoidal absolute positions."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.position._angles import angles
from suexp.position.base import Position


class Sinusoidal(Position):
    r"""$x_t \mapsto x_t + s\,p_t$, $p_{t,2i} = \sin(t\theta_i)$, $p_{t,2i+1} = \cos(t\theta_i)$.

    Shapes: x and p (b, n, dim); $\theta_i = base^{-2i/dim}$. There is nothing to train and no
    longest text.

    Relative to the paper: there the token embeddings, of standard deviation $dim^{-1/2}$, are
    multiplied by $\sqrt{dim}$ and p enters as it is. Here embeddings stay small, since the output
    layer shares them (0.05 at dim 128, see `suexp.init.default`); s of the same size keeps the
    paper's balance between tokens and positions. At s = 1 a small model hardly sees its tokens.

    References: Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.5; derived in
    https://kexue.fm/archives/8231.

    Args:
        dim: size of the embeddings, even.
        base: 10000, so that wavelengths run from 2 pi to 2 pi base.
        scale: s.

    Raises:
        ValueError: an odd dim, or a base not above 0.
    """

    def __init__(self, dim: int, base: float = 10000.0, scale: float = 0.05) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"sine and cosine come in pairs: dim must be even, not {dim}")
        if base <= 0:
            raise ValueError(f"base must be above 0, not {base}")
        self.dim = dim
        self.base = base
        self.scale = scale

    def embed(
        self, x: Float[Tensor, "b n c"], positions: Int[Tensor, "*b n"]
    ) -> Float[Tensor, "b n c"]:
        """Add each place's sines and cosines."""
        angle = angles(positions, self.dim, self.base)
        table = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)
        return x + (self.scale * table).to(x.dtype)
