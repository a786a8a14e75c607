"""Draws from the model's distribution, or from its head."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.decoding._one_by_one import OneByOne
from suexp.errors import at_least


class Sample(OneByOne):
    r"""$y_t \sim p^{1/\tau}$, cut to its top k, then to its nucleus, and renormalised.

    The nucleus is the smallest set of most probable tokens whose probabilities add up to top_p; it
    is taken of what top_k has left. Shapes: logits (b, v), tokens (b,).

    References: Fan et al., arXiv:1805.04833 (top-k); Holtzman et al., arXiv:1904.09751 (top-p);
    the order of the cuts is that of https://kexue.fm/archives/6933's code.

    Args:
        temperature: $\tau$; 1: the model's own distribution; 0: the most probable token.
        top_k: choose among the k most probable tokens; None: among all.
        top_p: choose within the nucleus of this probability; None: no cut.
        min_new_tokens: no text ends before so many tokens, the end token not counted.
        min_ends: how many end tokens end a text: 1, or the number of its fields.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_new_tokens: int = 0,
        min_ends: int = 1,
    ) -> None:
        super().__init__(min_new_tokens, min_ends)
        at_least(0, temperature=temperature)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {top_k}")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p

    def choose(
        self, logits: Float[Tensor, "b v"], generator: torch.Generator | None
    ) -> Int[Tensor, " b"]:
        """Draw a token."""
        if self.temperature == 0:
            return logits.argmax(-1)
        values, tokens = self.head(logits / self.temperature)
        drawn = torch.multinomial(values.softmax(-1), 1, generator=generator)
        return (drawn if tokens is None else tokens.gather(1, drawn))[:, 0]

    def head(
        self, logits: Float[Tensor, "b v"]
    ) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"] | None]:
        """Return the logits that the cuts leave and their tokens (None: all, in order)."""
        tokens = None
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            logits, tokens = logits.topk(self.top_k, dim=-1)
        elif self.top_p is not None and self.top_p < 1:
            logits, tokens = logits.sort(dim=-1, descending=True)
        if self.top_p is not None and self.top_p < 1:
            p = logits.softmax(-1)
            # A token stays when those before it have not reached the sum; the first always does.
            logits = logits.masked_fill(p.cumsum(-1) - p >= self.top_p, -torch.inf)
        return logits, tokens
