"""Tokens of a target that are replaced by others where a model reads them."""

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.nn.passes import as_if_nothing_happened, same_autocast

Batch = dict[str, Tensor]
Pool = Literal["target", "sequence", "vocab", "model"]
POOLS: tuple[Pool, ...] = ("target", "sequence", "vocab", "model")


def generator_of(*numbers: int) -> torch.Generator:
    """Return a generator on the CPU that depends on these numbers alone: seed, step, rank, ..."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed))


def replaced(
    task: Any,
    batch: Batch,
    pool: Pool,
    p_sample: float,
    p_token: float,
    generator: torch.Generator,
    keep_special: bool = False,
) -> Int[Tensor, "b n"]:
    r"""Return the tokens (b, n) of a batch of sources and targets, some of the target's replaced.

    With the probability ``p_sample`` a row has errors: each token of its target, and the one that
    closes it, is replaced with the probability ``p_token`` by a draw from the pool, which may be
    that very token. The draws are the generator's; sources and padding stay, also as others changed
    them before (``inputs``).

    Args:
        task: gives the vocabulary, and for the pool ``model`` the predictions.
        batch: ``tokens``, ``keep`` and ``segments``, see `suexp.data.joining`.
        pool: ``target``, the row's own target, as often as its tokens occur; ``sequence``, its
            source and all that surrounds the two as well; ``vocab``, all tokens alike; ``model``, a
            draw from what the model predicts there after the true prefix.
        p_sample: share of the rows.
        p_token: share of a row's target tokens.
        generator: on the CPU, so that all devices draw alike.
        keep_special: neither replace nor draw the tokens that begin and end texts.
    """
    tokens = batch["tokens"]
    shape, device = tokens.shape, tokens.device
    # All is drawn whatever the rates are: the same generator marks the same rows first.
    rows, places, picks = (
        torch.rand(size, generator=generator).to(device)
        for size in ((len(tokens), 1), shape, shape)
    )
    target = batch["segments"] == 1
    ordinary = _ordinary(task, tokens) if keep_special else torch.ones_like(target)
    hit = (rows < p_sample) & (places < p_token) & target & ordinary
    if pool == "vocab":
        other = (picks * task.data.sizes["vocab_size"]).long()
    elif pool == "model":
        other = _predicted(task, batch, picks)
    else:
        allowed = (target if pool == "target" else batch["keep"]) & ordinary
        other = tokens.gather(1, _drawn(allowed, picks))
    return other.where(hit, batch.get("inputs", tokens))


def _drawn(allowed: Bool[Tensor, "b n"], picks: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """Return places, uniform among those of each row that are allowed."""
    first = (~allowed).int().argsort(dim=1, stable=True)  # the allowed ones, in their order
    count = allowed.sum(1, keepdim=True)
    return first.gather(1, (picks * count).long().clamp(max=allowed.shape[1] - 1))


def _ordinary(task: Any, tokens: Int[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    tokenizer = task.data.tokenizer_
    special = tokenizer.special
    return ~torch.isin(tokens, torch.tensor(sorted(special), device=tokens.device))


def _predicted(task: Any, batch: Batch, picks: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """Return draws from the model's predictions where it is asked, the tokens elsewhere."""
    at = task.questions(batch, "target")[1] != -100
    with as_if_nothing_happened(task, batch), torch.no_grad(), same_autocast(batch)():
        logits, _ = task.predict({**batch, "inputs": batch["tokens"]}, "target")
        total = task.normalizer.predict(logits.float()).cumsum(-1)
    wanted = picks[:, 1:][at][:, None] * total[:, -1:]
    drawn = torch.searchsorted(total, wanted)[:, 0].clamp(max=logits.shape[-1] - 1)
    return batch["tokens"].index_put((F.pad(at, (1, 0)),), drawn)
