"""Attention with linear biases."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.errors import at_least
from suexp.position._distance import distances
from suexp.position.base import Position


def slopes(num_heads: int) -> Float[Tensor, " h"]:
    r"""Return each head's slope: $2^{-8k/h}$ for k = 1 .. h when h is a power of two.

    Otherwise the slopes of the next smaller power of two come first, then every other one of the
    next larger power, as in the paper's code.
    """
    power = 2 ** (num_heads.bit_length() - 1)
    whole = [2 ** (-8 * k / power) for k in range(1, power + 1)]
    between = [2 ** (-4 * k / power) for k in range(1, 2 * power, 2)]
    return torch.tensor((whole + between)[:num_heads])


class Alibi(Position):
    r"""Adds $-m_h\,|i - j|$ to the score of query i and key j, with a fixed slope $m_h$ a head.

    Shapes: bias (h, n, m). There is nothing to train and no longest text; under a causal mask this
    is the paper's form, in an encoder its symmetric one.

    Reference: Press et al., Train Short, Test Long, arXiv:2108.12409; compared with local attention
    in https://kexue.fm/archives/9431.

    Args:
        num_heads: h. Slopes run from $2^{-8/h}$ to $2^{-8}$.
        slope_repeat: how many neighbouring heads share a slope; the slopes are then those of h over
            it heads, as where heads were repeated (transform=enlarge_width).

    Raises:
        ValueError: num_heads below 1, or a slope_repeat that does not divide it.
    """

    provides = {"score_bias"}

    def __init__(self, num_heads: int, slope_repeat: int = 1) -> None:
        super().__init__()
        at_least(1, num_heads=num_heads)
        if slope_repeat < 1 or num_heads % slope_repeat:
            raise ValueError(f"slope_repeat {slope_repeat} must divide num_heads {num_heads}")
        self.slope_repeat = slope_repeat
        # Not a buffer: a model in half precision must not round the slopes.
        self.slopes = slopes(num_heads // slope_repeat).repeat_interleave(slope_repeat)

    def bias(
        self, query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]
    ) -> Float[Tensor, "*b h n m"]:
        """Return minus slope times distance, in float32."""
        if self.slopes.device != query.device:
            self.slopes = self.slopes.to(query.device)
        return -self.slopes[:, None, None] * distances(query, key)
