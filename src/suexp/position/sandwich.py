"""The inner products of sinusoidal positions, as a penalty of distance."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.errors import at_least
from suexp.position._angles import angles
from suexp.position.base import Position


class Sandwich(Position):
    r"""Adds $\frac{h}{8k}\left(p_i \cdot p_j - \bar d / 2\right)$ to the scores of head k = 1 .. h.

    $p$ are sinusoidal vectors of size $\bar d$, so that
    $p_i \cdot p_j = \sum_{l<\bar d/2} \cos\left((i - j)\,10000^{-2l/\bar d}\right)$: largest at
    distance 0 and, with oscillations, smaller farther off. Shapes: bias (h, n, m). There is nothing
    to train and no longest text; under a causal mask this is the paper's form, in an encoder its
    symmetric one.

    Reference: Chi et al., Dissecting Transformer Length Extrapolation via the Lens of Receptive
    Field Analysis, arXiv:2212.10356; compared with local attention in
    https://kexue.fm/archives/9431.

    Args:
        num_heads: h.
        inner_dim: $\bar d$, even; 128 as in the paper.

    Raises:
        ValueError: num_heads below 1, or an odd inner_dim.
    """

    provides = {"score_bias"}

    def __init__(self, num_heads: int, inner_dim: int = 128) -> None:
        super().__init__()
        at_least(1, num_heads=num_heads)
        if inner_dim < 2 or inner_dim % 2:
            raise ValueError(f"inner_dim must be even and at least 2, not {inner_dim}")
        self.num_heads = num_heads
        self.inner_dim = inner_dim

    def _vectors(self, positions: Int[Tensor, "*b n"]) -> Float[Tensor, "*b n d"]:
        angle = angles(positions, self.inner_dim, 10000.0)
        return torch.cat((angle.cos(), angle.sin()), -1).float()

    def bias(
        self, query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]
    ) -> Float[Tensor, "*b h n m"]:
        """Return the penalties, at most 0 and in float32."""
        with torch.autocast(query.device.type, enabled=False):
            products = self._vectors(query) @ self._vectors(key).mT - self.inner_dim / 2
        heads = torch.arange(1, self.num_heads + 1, device=query.device)
        return products.unsqueeze(-3) * (self.num_heads / (8 * heads))[:, None, None]
