"""Local attention in blocks: time and memory linear in the length."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from suexp.mask.base import Mask
from suexp.mask.blockwise import Blockwise
from suexp.mask.causal import Causal
from suexp.mask.padding import Padding
from suexp.mask.window import Window

LEAST = 32  # below it a block's product is too small to be worth its overhead


def local_part(mask: Mask) -> Window | Blockwise | None:
    """Return the rule that hides all far keys, where all others are causality and padding."""
    found = [part for part in mask.parts if isinstance(part, (Window, Blockwise))]
    if len(found) != 1 or not mask.is_only(Window, Blockwise, Causal, Padding):
        return None
    return found[0]


def local_attention(
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h n d"],
    v: Float[Tensor, "b h n e"],
    mask: Mask,
    local: Window | Blockwise,
    dropout: float,
    scale: float | None,
) -> Float[Tensor, "b h n e"]:
    """Return what softmax attention gives under the mask, of which ``local`` is a part.

    Queries of a block of c tokens look at its own keys, the c before and, unless the mask is
    causal, the c after: 2 c or 3 c scores a query, of which the mask hides what it must.
    """
    b, _, n, _ = q.shape
    c = local.block
    if isinstance(local, Window):  # any larger block serves, too
        c = max(c, min(LEAST, n))
    ahead = isinstance(local, Window) and not local.causal and mask.find(Causal) is None
    blocks = math.ceil(n / c)
    rest, span = blocks * c - n, (3 if ahead else 2) * c

    def rows(x: Tensor) -> Tensor:
        """Return the blocks of queries, (b * blocks, h, c, d)."""
        x = F.pad(x, (0, 0, 0, rest))
        return x.view(b, -1, blocks, c, x.shape[-1]).transpose(1, 2).flatten(0, 1)

    def spans(x: Tensor) -> Tensor:
        """Return what each block looks at, (b * blocks, h, span, d)."""
        x = F.pad(x, (0, 0, c, rest + (c if ahead else 0))).unfold(2, span, c)
        return x.permute(0, 2, 1, 4, 3).flatten(0, 1)

    table = _table(mask, local, b, n, c, span, q.device)
    blind = ~table.any(-1, keepdim=True)
    out = F.scaled_dot_product_attention(
        rows(q), spans(k), spans(v), attn_mask=table | blind, dropout_p=dropout, scale=scale
    ).masked_fill(blind, 0)
    out = out.view(b, blocks, -1, c, out.shape[-1])
    return out.transpose(1, 2).flatten(2, 3)[:, :, :n]


def _table(
    mask: Mask, local: Window | Blockwise, b: int, n: int, c: int, span: int, device: torch.device
) -> Bool[Tensor, "blocks 1 c span"]:
    """Return what each block's queries may look at, for each text of the batch."""
    # Both local rules are the same for all blocks; the second block stands for them.
    places = torch.arange(span, device=device)
    inside = local.allowed(places[c : 2 * c, None], places[None])
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
