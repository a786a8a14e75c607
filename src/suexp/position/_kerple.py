"""What the two kernels of KERPLE share: two trained numbers a head, and the distance."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.errors import at_least
from suexp.position._bounded import Bounded
from suexp.position._distance import distances
from suexp.position.base import Position


class Kerple(Position):
    """Adds a penalty of the distance, by numbers $r_1$ and $r_2$ of each head.

    Args:
        num_heads: h.
        tops: $r_1$ and $r_2$ are drawn evenly below these.
        high: the greatest $r_2$; both are at least 0.01.

    Raises:
        ValueError: num_heads below 1.
    """

    provides = {"score_bias"}

    def __init__(self, num_heads: int, tops: tuple[float, float], high: float) -> None:
        super().__init__()
        at_least(1, num_heads=num_heads)
        self.r1 = Bounded(tops[0] * torch.rand(num_heads), 0.01)
        self.r2 = Bounded(tops[1] * torch.rand(num_heads), 0.01, high)

    def penalty(self, r1: Tensor, r2: Tensor, distance: Tensor) -> Tensor:
        """Return what is subtracted from the scores."""
        raise NotImplementedError

    def bias(
        self, query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]
    ) -> Float[Tensor, "*b h n m"]:
        """Return minus the penalties, in float32."""
        r1, r2 = (r()[:, None, None] for r in (self.r1, self.r2))
        return -self.penalty(r1, r2, distances(query, key))
