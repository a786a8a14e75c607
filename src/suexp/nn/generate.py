"""Text from a language model, token by token."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def choose(
    logits: Float[Tensor, "b v"],
    temperature: float,
    top_k: int | None,
    generator: torch.Generator | None,
) -> Int[Tensor, "b 1"]:
    r"""Draw from $p \propto e^{\mathrm{logits}/\tau}$ over the top_k; $\tau = 0$: the largest."""
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    logits = logits.float() / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)


@torch.no_grad()
def generate(
    model: nn.Module,
    prompt: Int[Tensor, "b n"],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    **facts: Tensor,
) -> Int[Tensor, "b n_new"]:
    """Return the prompt and max_new_tokens further tokens, decoded from a cache.

    Where the model's positions end (``position.max_length``), the last half of them is read again.

    Args:
        model: has ``decode(tokens, state) -> (logits, state)``; set to evaluation meanwhile.
        prompt: at least one token a text.
        max_new_tokens: how many tokens to add.
        temperature: 1: the model's own distribution; 0: the most probable token.
        top_k: choose among the k most probable tokens; None: among all.
        generator: source of the draws; None: torch's global one.
        facts: what the mask must know of the batch, as in the model's ``forward``.

    Raises:
        ValueError: an empty prompt, a negative temperature, or top_k below 1.
    """
    if prompt.shape[1] == 0:
        raise ValueError("the prompt must hold at least one token")
    if temperature < 0:
        raise ValueError(f"temperature must be at least 0, not {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    limit: int | None = getattr(getattr(model, "position", None), "max_length", None)
    training = model.training
    model.eval()
    tokens = prompt
    unread = tokens if limit is None else tokens[:, -limit:]
    state: Any = None
    read = 0
    try:
        for _ in range(max_new_tokens):
            if limit is not None and read + unread.shape[1] > limit:
                unread, state, read = tokens[:, -max(limit // 2, 1) :], None, 0
            logits, state = model.decode(unread, state, **facts)  # type: ignore[operator]
            read += unread.shape[1]
            unread = choose(logits[:, -1], temperature, top_k, generator)
            tokens = torch.cat((tokens, unread), dim=1)
    finally:
        model.train(training)
    return tokens
