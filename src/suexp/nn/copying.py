"""Which parts of a target are copied from its source, and how a decoding copies."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.decoding.base import Constraint

OUTSIDE, BEGIN, INSIDE = 0, 1, 2  # not copied; a copied piece begins; it goes on


def common_tags(
    source: Int[Tensor, "b m"], target: Int[Tensor, "b n"]
) -> tuple[Int[Tensor, "b m"], Int[Tensor, "b n"]]:
    r"""Return the tags of both texts by a longest common subsequence of theirs.

    Matched tokens are `INSIDE` where the pair before them is matched too, in both texts the
    neighbour, else `BEGIN`; all others `OUTSIDE`. Of several longest ones the one that is found
    from the end: equal tokens match; else the source's last token goes, unless more is in common
    without the target's. Numbers below 0 match nothing.

    Args:
        source: token numbers; padding is negative.
        target: likewise.

    Example:
        >>> source, target = torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[9, 1, 2, 8, 4]])
        >>> [tags.tolist() for tags in common_tags(source, target)]
        [[[0, 1, 2, 0, 1]], [[0, 1, 2, 0, 1]]]
    """
    (b, m), n = source.shape, target.shape[1]
    equal = (source[:, :, None] == target[:, None]) & (source >= 0)[:, :, None]
    # lengths[j][:, i] of the source's first i tokens and the target's first j.
    lengths = [source.new_zeros(b, m + 1)]
    for column in equal.unbind(2):
        above = lengths[-1]
        row = torch.maximum(above[:, 1:], above[:, :-1] + column)
        lengths.append(torch.cat((above[:, :1], row.cummax(1).values), 1))
    table = torch.stack(lengths, 2)  # (b, m + 1, n + 1)

    rows = torch.arange(b, device=source.device)
    i, j = torch.full_like(rows, m), torch.full_like(rows, n)
    tags = source.new_zeros(b, m + 1), target.new_zeros(b, n + 1)
    after = torch.zeros_like(rows, dtype=torch.bool)  # whether the pair behind (i, j) is matched
    for _ in range(m + n):
        there = (i > 0) & (j > 0)
        x, y = (i - 1).clamp(min=0), (j - 1).clamp(min=0)
        match = there & equal[rows, x, y]
        # The last match began a piece unless this one stands right before it.
        for found, place in zip(tags, (i, j), strict=True):
            goes_on = match & after
            ahead = place.clamp(max=found.shape[1] - 1)
            found[rows, ahead] = torch.where(goes_on, INSIDE, found[rows, ahead])
            here = torch.where(match, place - 1, found.shape[1] - 1)
            found[rows, here] = torch.where(match, BEGIN, found[rows, here])
        drops_target = there & ~match & (table[rows, i, y] > table[rows, x, j])
        i = i - (there & ~drops_target).long()
        j = j - (match | drops_target).long()
        after = match
    return tags[0][:, :m], tags[1][:, :n]


class Copying(Constraint):
    r"""Copies pieces of the source where the tags say so, whole and in their order.

    The most probable tag of the next token decides: `OUTSIDE`, any token; `BEGIN`, a token of the
    source; `INSIDE`, one that goes on with the piece, so that the last n tokens are n neighbours in
    the source. A piece must begin before it goes on; where it cannot go on another begins.

    The state, of each hypothesis, is where in the source the last token may have come from.

    Args:
        tags: gives the logits (r, 3) of the tags by hidden states (r, c).
        source: the sources (b, m); what is negative is no token to copy.
    """

    def __init__(self, tags: Callable[[Tensor], Tensor], source: Int[Tensor, "b m"]) -> None:
        self.tags, self.source = tags, source

    def __call__(
        self,
        logits: Float[Tensor, "r v"],
        tokens: Int[Tensor, "r t"],
        state: Bool[Tensor, "r m"] | None,
        hidden: Float[Tensor, "r c"] | None,
    ) -> tuple[Float[Tensor, "r v"], Any]:
        """Forbid what is no copy where a copy is due."""
        assert hidden is not None
        source = self.source.repeat_interleave(len(logits) // len(self.source), 0)
        copied = torch.zeros_like(source, dtype=torch.bool)  # where the last token was copied from
        if state is not None and tokens.shape[1]:
            copied = state & (source == tokens[:, -1:])
        going = copied.any(1, keepdim=True)
        scores = self.tags(hidden).float()
        inside = torch.zeros_like(scores, dtype=torch.bool)
        inside[:, INSIDE:] = ~going
        tag = scores.masked_fill(inside, -torch.inf).argmax(1, keepdim=True)
        real = source >= 0
        following = copied.roll(1, 1) & real
        following[:, :1] = False
        goes_on = (tag == INSIDE) & following.any(1, keepdim=True)
        begins = (tag == BEGIN) | ((tag == INSIDE) & ~goes_on)
        places = torch.where(goes_on, following, begins & real)
        counts = torch.zeros_like(logits, dtype=torch.long)
        counts = counts.scatter_add(1, source.clamp(min=0), places.long())
        bound = places.any(1, keepdim=True)  # nothing to copy from binds nothing
        return logits.masked_fill(bound & (counts == 0), -torch.inf), places
