"""Always the most probable token."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.decoding._one_by_one import OneByOne


class Greedy(OneByOne):
    r"""$y_t = \mathrm{argmax}_v\; p(v | x, y_{<t})$.

    Shapes: logits (b, v), tokens (b,).

    Reference: https://kexue.fm/archives/6933; a beam search with one beam.

    Args:
        min_new_tokens: no text ends before so many tokens, the end token not counted.
        min_ends: how many end tokens end a text: 1, or the number of its fields.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(self, min_new_tokens: int = 0, min_ends: int = 1) -> None:
        super().__init__(min_new_tokens, min_ends)

    def choose(
        self, logits: Float[Tensor, "b v"], generator: torch.Generator | None
    ) -> Int[Tensor, " b"]:
        """Return the best token."""
        del generator
        return logits.argmax(-1)
