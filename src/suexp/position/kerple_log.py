"""KERPLE's logarithmic penalty of distance, trained."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.position._distance import distances
from suexp.position._positive import Bounded
from suexp.position.base import Position


class KerpleLog(Position):
    r"""Adds $-r_1 \log(1 + r_2 |i - j|)$ to the score of query i and key j, two numbers a head.

    Shapes: bias (h, n, m), $r_1$ and $r_2$ (h). All layers share them. No longest text; under a
    causal mask this is the paper's form, in an encoder its symmetric one. As in the authors' code
    $r_1 \sim U(0, 2)$, $r_2 \sim U(0, 1)$, and both are kept above 0.01.

    Reference: Chi et al., KERPLE, arXiv:2205.09921; compared with local attention in
    https://kexue.fm/archives/9431.

    Args:
        num_heads: h.

    Raises:
        ValueError: num_heads below 1.
    """

    provides = {"score_bias"}

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1:
            raise ValueError(f"num_heads must be at least 1, not {num_heads}")
        self.r1 = Bounded(2 * torch.rand(num_heads), 0.01)
        self.r2 = Bounded(torch.rand(num_heads), 0.01)

    def bias(
        self, query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]
    ) -> Float[Tensor, "*b h n m"]:
        """Return the penalties, in float32."""
        r1, r2 = (r()[:, None, None] for r in (self.r1, self.r2))
        return -r1 * torch.log1p(r2 * distances(query, key))
