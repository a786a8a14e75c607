"""Follows the best few hypotheses of each text."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from suexp.decoding.base import Decoding, Generated, Request, read_prompt, read_token
from suexp.errors import at_least


class Beam(Decoding):
    r"""Approximates $\mathrm{argmax}_y \sum_t \log p(y_t | x, y_{<t}) / |y|^\alpha$.

    Each step keeps the K best of the K v continuations. With ``drop_ended``, as in bert4keras, a
    text is done when its best hypothesis has ended; hypotheses that end as second best are given up
    and the beam is one narrower from then on. Without it they stay in the race, and the text is
    done when no hypothesis can overtake the best ended one: with K large enough that is exact.
    Shapes: prompt (b, n), hypotheses (b, K, t), their scores (b, K).

    References: the author's decoder, https://kexue.fm/archives/6933; Sutskever et al.,
    arXiv:1409.3215, section 3.2; length penalty of Wu et al., arXiv:1609.08144.

    Args:
        num_beams: K.
        length_penalty: $\alpha$, the exponent of the length (end token included); 0 as in the post.
        drop_ended: the post's rule (true), or the complete search (false).
        min_new_tokens: no text ends before so many tokens, the end token not counted.
        min_ends: how many end tokens end a text: 1, or the number of its fields.

    Raises:
        ValueError: a number out of range; a length penalty with drop_ended.
    """

    def __init__(
        self,
        num_beams: int = 3,
        length_penalty: float = 0.0,
        drop_ended: bool = True,
        min_new_tokens: int = 0,
        min_ends: int = 1,
    ) -> None:
        super().__init__(min_new_tokens, min_ends)
        at_least(1, num_beams=num_beams)
        at_least(0, length_penalty=length_penalty)
        if length_penalty and drop_ended:
            raise ValueError("a length penalty compares ended hypotheses: set drop_ended=false")
        self.num_beams, self.length_penalty = num_beams, length_penalty
        self.drop_ended = drop_ended

    def run(self, ask: Request) -> Generated:
        """Decode all texts side by side, each with its own K rows of the cache."""
        b, k, device = len(ask.prompt), self.num_beams, ask.prompt.device
        logits, state = read_prompt(ask)
        rows = torch.arange(b, device=device).repeat_interleave(k)
        logits, state = logits[rows], state.select(rows)
        states: list[Any] = [None] * len(ask.constraints)
        tokens, ends = ask.prompt.new_zeros(b * k, 0), ask.prompt.new_zeros(b * k)
        # The beams of a text are equal at first: only one of them is continued.
        scores = torch.full((b, k), -torch.inf, device=device)
        scores[:, 0] = 0
        width = torch.full((b, 1), k, device=device)
        best = _Best(ask, self.length_penalty)
        for step in range(1, ask.max_new_tokens + 1):
            logits, states = self.constrained(ask, logits, tokens, states, state)
            sums = (scores.view(-1, 1) + logits.log_softmax(-1)).view(b, -1)
            # Of the 2 K best at least K go on, since each beam ends in one way only.
            count = k if self.drop_ended else min(2 * k, sums.shape[1])
            found, flat = sums.topk(count, dim=-1)
            rows = (torch.arange(b, device=device)[:, None] * k + flat // logits.shape[1]).flatten()
            token = (flat % logits.shape[1]).flatten()
            tokens, ends = torch.cat((tokens[rows], token[:, None]), 1), ends[rows]
            if ask.end is not None:
                ends = ends + (token == ask.end)
            places = torch.arange(count, device=device)
            if self.drop_ended:
                found = found.masked_fill(places >= width, -torch.inf)
            ended = (ends >= self.min_ends).view(b, count) & found.isfinite()
            best.take(ended & (places == 0) if self.drop_ended else ended, found, tokens)
            width = width - ended.sum(1, keepdim=True)
            found = found.masked_fill(ended, -torch.inf)
            if step == ask.max_new_tokens:  # what has not ended competes as it stands
                best.take(found.isfinite(), found, tokens)
                break
            best.settle(found.amax(1), at_once=self.drop_ended)
            if bool(best.done.all()):
                break
            scores, order = found.masked_fill(best.done[:, None], -torch.inf).topk(k, dim=-1)
            pick = (torch.arange(b, device=device)[:, None] * count + order).flatten()
            rows, tokens, ends = rows[pick], tokens[pick], ends[pick]
            states = _of(states, rows)
            logits, state = read_token(ask, tokens[:, -1], state.select(rows))
        return best.generated()


class _Best:
    """The best ended hypothesis of each text so far."""

    def __init__(self, ask: Request, length_penalty: float) -> None:
        b, device = len(ask.prompt), ask.prompt.device
        self.alpha, self.longest = length_penalty, ask.max_new_tokens
        fill = 0 if ask.end is None else ask.end
        self.tokens = ask.prompt.new_full((b, self.longest), fill)
        self.length = ask.prompt.new_zeros(b)
        self.score = torch.full((b,), -torch.inf, device=device)
        self.value = self.score.clone()  # the score over the length's power
        self.done = torch.zeros(b, dtype=torch.bool, device=device)

    def take(self, which: Tensor, scores: Tensor, tokens: Tensor) -> None:
        """Consider those of the hypotheses, (b, count), that are marked."""
        step = tokens.shape[1]
        score, place = scores.masked_fill(~which, -torch.inf).max(1)
        value = score / step**self.alpha
        better = (value > self.value) & ~self.done
        rows = torch.arange(len(place), device=place.device) * scores.shape[1] + place
        self.tokens[:, :step] = tokens[rows].where(better[:, None], self.tokens[:, :step])
        self.length = self.length.masked_fill(better, step)
        self.score, self.value = score.where(better, self.score), value.where(better, self.value)

    def settle(self, alive: Tensor, at_once: bool) -> None:
        """Mark the texts that are done, given the best score (b,) of those that go on."""
        bound = alive / self.longest**self.alpha  # sums only fall, lengths only grow
        self.done |= self.value.isfinite() & (at_once | (self.value >= bound))

    def generated(self) -> Generated:
        longest = int(self.length.max())
        places = torch.arange(longest, device=self.length.device)
        return Generated(self.tokens[:, :longest], places < self.length[:, None], self.score)


def _of(states: list[Any], rows: Tensor) -> list[Any]:
    """Return the constraints' states of these rows."""
    return tree_map(lambda x: x[rows] if isinstance(x, Tensor) else x, states)
