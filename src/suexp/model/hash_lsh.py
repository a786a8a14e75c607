"""Locality-sensitive hashing: signs of a few dense projections."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from suexp.errors import at_least
from suexp.model._hash import Codes
from suexp.nn.hashing import Bag


class HashLsh(Codes):
    r"""$h = [G x > 0]$, G Gaussian: few dense bits, nothing is learned.

    Bits of two vectors at angle $\theta$ agree with probability $1 - \theta / \pi$. Run it with
    trainer.max_steps=0. Shapes: x (b, input_dim), h (b, num_bits).

    Post: https://kexue.fm/archives/8159. Paper: Charikar, Similarity Estimation Techniques from
    Rounding Algorithms, https://doi.org/10.1145/509907.509965.

    Args:
        input_dim: size of x.
        num_bits: bits of a code.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, input_dim: int, num_bits: int = 8) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim, num_bits=num_bits)
        self.num_bits = num_bits
        self.weight = nn.Parameter(torch.randn(num_bits, input_dim))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "b d"] | Bag) -> Bool[Tensor, "b k"]:
        """Return the bits."""
        return self(x) > 0

    @property
    def storage_bits(self) -> float:
        """A bit for each."""
        return float(self.num_bits)

    def similarity(self, a: Bool[Tensor, "b k"], b: Bool[Tensor, "c k"]) -> Float[Tensor, "b c"]:
        """Return the share of bits that agree."""
        x, y = 2 * a.float() - 1, 2 * b.float() - 1
        return (1 + x @ y.T / self.num_bits) / 2
