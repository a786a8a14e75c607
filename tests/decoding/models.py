"""Small models whose choices are clear, and the slow way to decode them."""

import torch
from torch import Tensor

from suexp.attention import Softmax
from suexp.init import Default
from suexp.mask import Causal
from suexp.mask.base import Mask
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Rope
from suexp.position.base import Position

VOCABULARY = 11


def build(position: Position | None = None, mask: Mask | None = None, **changes) -> Transformer:
    torch.manual_seed(0)
    sizes = {"dim": 16, "num_heads": 2, "tie_embeddings": False} | changes
    # Sharp and untied, so that choices are clear and do not repeat the last token.
    init = Default(gain=sizes.pop("init_gain", 2.0), embedding_std=1.0)
    vocabulary = sizes.pop("vocab_size", VOCABULARY)
    return Transformer(
        vocabulary, Softmax(), position or Rope(8), Layer(16), mask or Causal(), init, **sizes
    )


def uncached(model: Transformer, tokens: Tensor, steps: int, **facts: Tensor) -> Tensor:
    """Greedy decoding that reads the whole text again for every token."""
    with torch.no_grad():
        for _ in range(steps):
            best = model(tokens, **facts)[:, -1].argmax(-1, keepdim=True)
            tokens = torch.cat((tokens, best), 1)
    return tokens


def prompts(rows: int = 3, length: int = 4, vocabulary: int = VOCABULARY) -> Tensor:
    return torch.randint(vocabulary, (rows, length), generator=torch.Generator().manual_seed(2))
