"""What all codes by a matrix have in common."""

import math
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.component import Component
from suexp.nn.hashing import Bag, drive, top


class Codes(nn.Module, Component):
    """Codes $h = $ the k largest of $W x$, as ones among K units.

    Attributes:
        weight: W, (K, input_dim).
        num_bits: k.
    """

    provides: ClassVar[set[str]] = {"hash"}
    needs: ClassVar[dict[str, str]] = {
        "codes": "it codes rows, and predicts nothing; use task=hashing data=digits"
    }

    weight: nn.Parameter
    num_bits: int

    def forward(self, x: Float[Tensor, "b d"] | Bag) -> Float[Tensor, "b k"]:
        """Return the units' scores."""
        return drive(x, self.weight)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "b d"] | Bag) -> Bool[Tensor, "b k"]:
        """Return the codes."""
        return top(self(x), self.num_bits)

    def winner(self, x: Float[Tensor, "b d"] | Bag, scaled: bool = False) -> Int[Tensor, " b"]:
        """Return the unit that learns from each row: of the largest score, scaled that of x / p."""
        return drive(x, self.weight.detach(), scaled).argmax(-1)

    @property
    def storage_bits(self) -> float:
        """What a code takes up: log2 of the number of codes."""
        return math.log2(math.comb(len(self.weight), self.num_bits))

    def similarity(self, a: Bool[Tensor, "b k"], b: Bool[Tensor, "c k"]) -> Float[Tensor, "b c"]:
        """Return the share of active units that two codes have in common."""
        return a.float() @ b.float().T / self.num_bits
