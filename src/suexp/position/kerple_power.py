"""KERPLE's power of distance, trained."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.position._distance import distances
from suexp.position._positive import Bounded
from suexp.position.base import Position


class KerplePower(Position):
    r"""Adds $-r_1 |i - j|^{r_2}$ to the score of query i and key j, two numbers a head.

    Shapes: bias (h, n, m), $r_1$ and $r_2$ (h). All layers share them. No longest text; under a
    causal mask this is the paper's form, in an encoder its symmetric one. As in the authors' code
    $r_1 \sim U(0, 1)$, $r_2 \sim U(0, 2)$, with $r_1 \ge 0.01$ and $0.01 \le r_2 \le 2$ throughout.
    With $r_2 = 1$ and fixed slopes it is `Alibi`.

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
        self.r1 = Bounded(torch.rand(num_heads), 0.01)
        self.r2 = Bounded(2 * torch.rand(num_heads), 0.01, 2.0)

    def bias(
        self, query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]
    ) -> Float[Tensor, "*b h n m"]:
        """Return the penalties, in float32."""
        r1, r2 = (r()[:, None, None] for r in (self.r1, self.r2))
        distance = distances(query, key)
        # 0 to a power has 0 times log 0 in its derivative: leave the diagonal out of it.
        return (-r1 * distance.clamp_min(1) ** r2).masked_fill(distance == 0, 0.0)
