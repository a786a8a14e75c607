"""Decodings that follow one hypothesis for each text."""

from typing import Any

import torch
from torch import Tensor

from suexp.decoding.base import Decoding, Generated, Request, read_prompt, read_token


class OneByOne(Decoding):
    """Chooses each token as soon as its logits are known.

    Where the model's positions end (``position.max_length``), the last half of the text is read
    again; that needs prompts of one length, without segments or facts for the mask.
    """

    def choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return a token (b,) by the logits (b, v)."""
        raise NotImplementedError

    def run(self, ask: Request) -> Generated:
        """Write the new tokens, one after another."""
        limit = None
        if ask.keep is None and ask.segments is None and not ask.facts:
            limit = getattr(getattr(ask.model, "position", None), "max_length", None)
        if limit is not None:
            ask = ask._replace(prompt=ask.prompt[:, -limit:])
        text, kept = ask.prompt, list[Tensor]()
        start = text.shape[1]
        states: list[Any] = [None] * len(ask.constraints)
        ends, score = text.new_zeros(len(text)), torch.zeros(len(text), device=text.device)
        logits, state = read_prompt(ask)
        for _ in range(ask.max_new_tokens):
            if kept:
                if limit is not None and state.length == limit:
                    logits, state = read_prompt(ask._replace(prompt=text[:, -max(limit // 2, 1) :]))
                else:
                    logits, state = read_token(ask, text[:, -1], state)
            new = text[:, start:]
            logits, states = self.constrained(ask, logits, new, states, state)
            token, going = self.choose(logits, ask.generator), ends < self.min_ends
            if ask.end is not None:
                token = token.where(going, ask.end)
            gain = logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(-1)
            score = score + gain.where(going, 0)
            text = torch.cat((text, token[:, None]), 1)
            kept.append(going)
            if ask.end is not None:
                ends = ends + (token == ask.end)
                if bool((ends >= self.min_ends).all()):
                    break
        return Generated(text[:, start:], torch.stack(kept, 1), score)
