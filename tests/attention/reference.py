"""Attention by its definition: every weight spelt out."""

import math

import torch
from torch import Tensor

from suexp.attention._core import FeatureAttention
from suexp.attention.base import Attention
from suexp.attention.entropy_invariant import EntropyInvariant
from suexp.attention.linear import Linear
from suexp.attention.softmax import Softmax, naive
from suexp.attention.talking_heads import TalkingHeads
from suexp.mask.base import Mask


def by_definition(attention: Attention, q: Tensor, k: Tensor, v: Tensor, mask: Mask) -> Tensor:
    """Return what the attention computes, in time and memory quadratic in the length."""
    table = mask.dense(q.shape[-2], k.shape[-2])
    if isinstance(attention, EntropyInvariant):
        n, m = q.shape[-2], k.shape[-2]
        count = torch.full((n,), m) if table is None else table.sum(-1)
        scale = count.clamp_min(16).double().log() / math.log(512)
        return naive(q * scale[..., None].to(q.dtype), k, v, table)
    if isinstance(attention, TalkingHeads):
        before, after = attention.mix_scores.to(q.dtype), attention.mix_weights.to(q.dtype)
        scores = torch.einsum("ij,bjnm->binm", before, q @ k.mT * q.shape[-1] ** -0.5)
        if table is not None:
            scores = scores.masked_fill(~table, -1e300)
        weights = scores.softmax(-1) if table is None else scores.softmax(-1) * table
        return torch.einsum("ij,bjnm,bime->bine", after, weights, v)
    if isinstance(attention, Softmax):
        return naive(q, k, v, table, scale=attention.scale)
    if isinstance(attention, FeatureAttention):
        if isinstance(attention, Linear):
            q, k = attention._widen(q), attention._widen(k)
        map_q, map_k = attention.maps(q.dtype)
        fq, fk = map_q(q.flatten(0, 1))[0], map_k(k.flatten(0, 1))
        weights = (fq @ fk[0].mT) * (1.0 if fk[1] is None else fk[1].exp()[:, None, :])
        return normalised(weights.view(*q.shape[:3], -1), table, v)
    raise TypeError(f"{type(attention).__name__} has no definition here: add one")


def normalised(weights: Tensor, table: Tensor | None, v: Tensor) -> Tensor:
    """Return the means of v by these weights, 0 in rows without any."""
    if table is not None:
        weights = weights * table
    total = weights.sum(-1, keepdim=True)
    return torch.where(total == 0, 0.0, weights @ v / torch.where(total == 0, 1.0, total))
