"""Local attention in blocks: time and memory linear in the length."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.mask.base import Mask
from suexp.mask.blockwise import Blockwise
from suexp.mask.causal import Causal
from suexp.mask.padding import Padding
from suexp.mask.window import Window

ALIGNED = 32  # products of such sizes are fast


@dataclass(frozen=True)
class Blocks:
    """How a text is cut under a local rule.

    Attributes:
        local: the rule that hides all far keys.
        size: c, the tokens of a block.
        span: the keys that a block looks at: its own, the c before and perhaps the c after.
    """

    local: Window | Blockwise
    size: int
    span: int

    def pay(self, n: int) -> bool:
        """Tell whether blocks of n tokens are faster than one fused product under a table."""
        return n > max(2.5 * self.span, 256)


def blocks_of(mask: Mask) -> Blocks | None:
    """Return the blocks where one rule hides all far keys, beside causality and padding."""
    found = [part for part in mask.parts if isinstance(part, (Window, Blockwise))]
    if len(found) != 1 or not mask.is_only(Window, Blockwise, Causal, Padding):
        return None
    local, size = found[0], found[0].block
    if isinstance(local, Blockwise):
        return Blocks(local, size, 2 * size)
    size = math.ceil(size / ALIGNED) * ALIGNED  # any larger block serves, too
    return Blocks(local, size, (2 if local.causal or mask.find(Causal) else 3) * size)


def local_attention(
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h n d"],
    v: Float[Tensor, "b h n e"],
    mask: Mask,
    blocks: Blocks,
    dropout: float,
    scale: float | None,
) -> Float[Tensor, "b h n e"]:
    """Return what softmax attention gives under the mask, which is cut into ``blocks``.

    Queries of a block of c tokens look at its own keys, the c before and, unless the mask is
    causal, the c after: 2 c or 3 c scores a query, of which the mask hides what it must.
    """
    b, _, n, _ = q.shape
    c, span = blocks.size, blocks.span
    count = math.ceil(n / c)
    rest = count * c - n

    def rows(x: Tensor) -> Tensor:
        """Return the blocks of queries, (b * blocks, h, c, d)."""
        x = F.pad(x, (0, 0, 0, rest))
        return x.view(b, -1, count, c, x.shape[-1]).transpose(1, 2).flatten(0, 1)

    def spans(x: Tensor) -> Tensor:
        """Return what each block looks at, (b * blocks, h, span, d)."""
        x = F.pad(x, (0, 0, c, rest + span - 2 * c))
        x = x.view(b, -1, x.shape[2] // c, c, x.shape[-1]).transpose(1, 2)
        return torch.cat([x[:, i : i + count] for i in range(span // c)], -2).flatten(0, 1)

    table = _table(mask, blocks, b, n, q.device)
    blind = ~table.any(-1, keepdim=True)
    out = F.scaled_dot_product_attention(
        rows(q), spans(k), spans(v), attn_mask=table | blind, dropout_p=dropout, scale=scale
    ).masked_fill(blind, 0)
    out = out.view(b, count, -1, c, out.shape[-1])
    return out.transpose(1, 2).flatten(2, 3)[:, :, :n]


def count_local_keys(
    mask: Mask, blocks: Blocks, n: int, device: torch.device
) -> Int[Tensor, "*b n"]:
    """Return how many keys each of n queries sees: (n,), or (b, 1, n) where texts differ."""
    part = mask.find(Padding)
    b = part.keep.shape[0] if isinstance(part, Padding) else 1
    counts = _table(mask, blocks, b, n, device).sum(-1).view(b, 1, -1)[..., :n]
    return counts[0, 0] if part is None else counts


def _table(
    mask: Mask, blocks: Blocks, b: int, n: int, device: torch.device
) -> Bool[Tensor, "blocks 1 c span"]:
    """Return what each block's queries may look at, for each text of the batch."""
    c, span = blocks.size, blocks.span
    # Both local rules are the same for all blocks; the second block stands for them.
    places = torch.arange(span, device=device)
    inside = blocks.local.allowed(places[c : 2 * c, None], places[None])
    if mask.find(Causal) is not None:
        inside = inside & Causal().allowed(places[c : 2 * c, None], places[None])
    real = torch.ones(1, n, dtype=torch.bool, device=device)
    for part in mask.parts:
        if isinstance(part, Padding):
            real = real & part.keep.to(device)
    rest = -n % c
    keys = F.pad(real, (c, rest + span - 2 * c)).unfold(1, span, c)  # (b or 1, blocks, span)
    table = inside & keys[:, :, None]
    return table.expand(b, -1, -1, -1).flatten(0, 1)[:, None]
