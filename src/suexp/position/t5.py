"""A trained bias for each bucket of distances."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from suexp.errors import at_least
from suexp.position.base import Position


def buckets(
    distance: Int[Tensor, "*size"], num_buckets: int, max_distance: int, bidirectional: bool
) -> Int[Tensor, "*size"]:
    """Return the bucket of each key's place minus the query's.

    The nearer half of the buckets hold one distance each, the others grow logarithmically up to
    ``max_distance``, and the last holds all beyond. If bidirectional, half of all are for later
    keys; else later keys are in bucket 0.
    """
    start: Tensor | int = 0
    if bidirectional:
        num_buckets //= 2
        start = (distance > 0) * num_buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp_min(0)
    exact = num_buckets // 2
    ratio = (distance.clamp_min(exact) / exact).log() / math.log(max_distance / exact)
    far = exact + (ratio * (num_buckets - exact)).long()
    return start + torch.where(distance < exact, distance, far.clamp_max(num_buckets - 1))


class T5(Position):
    r"""Adds $b_h(\mathrm{bucket}(j - i))$ to the score of query i and key j, trained for each head.

    Shapes: bias (h, n, m), table (num_buckets, h). All layers share it. No longest text: all
    distances from max_distance on are alike. The group `init` draws the table like an embedding.

    Reference: Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text
    Transformer, arXiv:1910.10683; https://kexue.fm/archives/8130 compares the kinds of position
    codes.

    Args:
        num_heads: h.
        num_buckets: 32 as in the paper.
        max_distance: 128 as in the paper.
        bidirectional: buckets for later keys, too. Under a causal mask false makes use of all.

    Raises:
        ValueError: num_heads below 1, too few buckets, or a max_distance that is not above the
            number of buckets of one distance each.
    """

    provides = {"score_bias"}

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, num_heads=num_heads)
        least = 4 if bidirectional else 2
        if num_buckets < least or num_buckets % least:
            raise ValueError(f"num_buckets must be a multiple of {least}, not {num_buckets}")
        exact = num_buckets // least
        if max_distance <= exact:
            raise ValueError(f"max_distance must be above {exact}, not {max_distance}")
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.bidirectional = bidirectional
        self.table = nn.Embedding(num_buckets, num_heads)

    def bias(
        self, query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]
    ) -> Float[Tensor, "*b h n m"]:
        """Return each pair's bias."""
        distance = key[..., None, :] - query[..., :, None]
        bucket = buckets(distance, self.num_buckets, self.max_distance, self.bidirectional)
        return self.table(bucket).movedim(-1, -3)
