"""Noise on the words of a source: hidden, or others in their place."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Batch = dict[str, Tensor]


def word_starts(tokenizer: Any, tokens: Int[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    """Return where a word begins; what is no letter or digit is a word of its own.

    Args:
        tokenizer: tells by ``joints`` how tokens make words.
        tokens: of texts, with those around them.
    """
    first, last, inside = (torch.from_numpy(x).to(tokens.device) for x in tokenizer.joints)
    starts = torch.ones_like(tokens, dtype=torch.bool)
    new = tokens[:, 1:]
    starts[:, 1:] = ~(inside[new] | (first[new] & last[tokens[:, :-1]]))
    return starts


def noised(
    task: Any,
    batch: Batch,
    p_sample: float,
    p_word: float,
    generator: torch.Generator,
    mask: float = 0.8,
    random: float = 0.1,
) -> Int[Tensor, "b n"]:
    r"""Return the tokens (b, n) of sources and their targets, with noise on the sources' words.

    With the probability ``p_sample`` a row has noise: each word of its source is chosen with the
    probability ``p_word``; all tokens of a chosen word become the mask token with the probability
    ``mask``, each a random one with the probability ``random``, or stay. Targets, padding and the
    tokens that frame the texts stay.

    Args:
        task: gives the tokenizer.
        batch: ``tokens``, ``keep`` and ``segments``, see `suexp.data.joining`.
        p_sample: share of the rows.
        p_word: share of a row's source words.
        generator: on the CPU, so that all devices draw alike.
        mask: share of the chosen words that are hidden.
        random: share of them in whose place random tokens stand.
    """
    tokens, tokenizer = batch["tokens"], task.data.tokenizer_
    shape, device = tokens.shape, tokens.device
    # All is drawn whatever the rates are: the same generator marks the same rows first.
    rows, places, picks = (
        torch.rand(size, generator=generator).to(device)
        for size in ((len(tokens), 1), shape, shape)
    )
    numbers = torch.arange(shape[1], device=device)
    starts = word_starts(tokenizer, tokens)
    first = numbers.where(starts, numbers.new_zeros(())).cummax(1).values
    word = places.gather(1, first)  # one number for all tokens of a word
    special = torch.tensor(sorted(tokenizer.special), device=device)
    source = batch["keep"] & (batch["segments"] == 0) & ~torch.isin(tokens, special)
    source = source & (rows < p_sample)
    other = (picks * tokenizer.size).long()
    changed = other.where(word < p_word * (mask + random), tokens)
    changed = changed.masked_fill(word < p_word * mask, tokenizer.mask_id)
    return changed.where(source, batch.get("inputs", tokens))
