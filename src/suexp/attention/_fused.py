"""Attention over mapped keys on a CPU: chunks that fit the cache, with a backward of their own."""

from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from suexp.attention._feature_map import NOTHING, FeatureMap, denominator, log_scales


class _Queries(NamedTuple):
    """One chunk of queries."""

    features: Tensor  # (B, C, f)
    decay: Tensor  # (B, C, 1), sums of earlier keys to query
    within: Tensor  # (B, C, C), own key to query, 0 above the diagonal; unused if not causal
    weights: Tensor  # (B, C, C), products with own keys, times within; unused if not causal
    denominator: Tensor  # (B, C, 1)


class _Keys(NamedTuple):
    """One chunk of keys."""

    features: Tensor  # (B, C, f)
    value: Tensor  # (B, C, e + 1), the last column 1
    decay: Tensor  # (B, C, 1), key to sums
    fade: Tensor  # (B, 1, 1), sums before the chunk to sums after it


def _chunks(x: Tensor, size: int) -> list[Tensor]:
    return [c.flatten(0, 1).contiguous() for c in torch.split(x, size, 2)]


def _decays(
    s: Tensor, lengths: list[int], causal: bool
) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Return (decay, within) of the query chunks and (decay, fade) of the key chunks."""
    one = s.new_ones(1, 1, 1)
    if not causal:
        top = s.amax(-1, keepdim=True).clamp_min(NOTHING)
        return [], [((x - top).exp_()[..., None], one) for x in torch.split(s, lengths, 1)]
    running = torch.cummax(s, -1).values.clamp_min_(NOTHING)
    start = torch.full_like(s[:, :1], NOTHING)
    queries, keys = [], []
    for x, t in zip(torch.split(s, lengths, 1), torch.split(running, lengths, 1), strict=True):
        end = t[:, -1:]
        within = (x[:, None, :] - t[:, :, None]).exp_().tril_()
        queries.append(((start - t).exp_()[..., None], within))
        keys.append(((x - end).exp_()[..., None], (start - end).exp_()[..., None]))
        start = end
    return queries, keys


def _absorb(sums: Tensor, fade: Tensor, features: Tensor, value: Tensor) -> None:
    sums.mul_(fade).baddbmm_(features.mT, value)


class _Fused(torch.autograd.Function):
    r"""$o_i = \phi(q_i) S_i / \phi(q_i) z_i$: features are made, used and differentiated by chunks.

    Kept for backward are the features and, if causal, 2C numbers a token; the sums of earlier keys
    are made again. In all O(n (f + d + e + C)) numbers, and f (e + 1) for each head.
    """

    @staticmethod
    def forward(
        ctx: Any,
        again: Callable[..., Tensor],
        maps: tuple[FeatureMap, FeatureMap],
        causal: bool,
        size: int,
        keep: Tensor | None,
        q: Tensor,
        k: Tensor,
        v: Tensor,
    ) -> Tensor:
        """Return the attended values; ``again(q, k, v)`` computes them differentiably."""
        features = [maps[0](x)[0] for x in _chunks(q, size)]
        mapped = [maps[1](x) for x in _chunks(k, size)]
        values = [F.pad(x, (0, 1), value=1.0) for x in _chunks(v, size)]
        lengths = [x.shape[1] for x in values]
        s = torch.cat([log_scales(scale, x, None) for x, scale in mapped], 1)
        if keep is not None:
            s = log_scales(s, s, keep)
        of_queries, of_keys = _decays(s, lengths, causal)
        keys = [
            _Keys(x[0], value, *decays)
            for x, value, decays in zip(mapped, values, of_keys, strict=True)
        ]
        sums = v.new_zeros(values[0].shape[0], keys[0].features.shape[-1], v.shape[-1] + 1)
        if not causal:
            for key in keys:
                _absorb(sums, key.fade, key.features, key.value * key.decay)
        # The shell joins heads token by token: in this memory order that costs no copy.
        out = v.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[-1]).transpose(1, 2)
        queries = []
        unused = sums.new_empty(0)
        for c, (fq, part) in enumerate(zip(features, torch.split(out, size, 2), strict=True)):
            o = torch.bmm(fq, sums)
            decay, within, weights = sums.new_ones(1, 1, 1), unused, unused
            if causal:
                key, (decay, within) = keys[c], of_queries[c]
                weights = torch.bmm(fq, key.features.mT).mul_(within)
                o.mul_(decay).baddbmm_(weights, key.value)
                _absorb(sums, key.fade, key.features, key.value * key.decay)
            below = denominator(o)
            queries.append(_Queries(fq, decay, within, weights, below))
            torch.div(o[..., :-1].view_as(part), below.view(*part.shape[:3], 1), out=part)
        ctx.again, ctx.maps, ctx.causal, ctx.size = again, maps, causal, size
        flat = [x for chunk in (*queries, *keys) for x in chunk]
        ctx.save_for_backward(q, k, v, out, sums, *flat)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for q, k and v."""
        q, k, v, out, sums, *flat = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants to differentiate the gradient
            again = torch.autograd.grad(ctx.again(q, k, v), (q, k, v), grad, create_graph=True)
            return None, None, None, None, None, *again
        rest = iter(flat)
        count = -(-q.shape[2] // ctx.size)
        queries = [_Queries(*islice(rest, 5)) for _ in range(count)]
        keys = [_Keys(*islice(rest, 4)) for _ in range(-(-k.shape[2] // ctx.size))]
        with torch.autocast(grad.device.type, enabled=False):
            grads = []
            for x, chunk, part in zip(
                _chunks(grad, ctx.size), queries, _chunks(out, ctx.size), strict=True
            ):
                x = x / chunk.denominator
                grads.append(torch.cat([x, -(x * part).sum(-1, keepdim=True)], -1))
            backward = _causal_backward if ctx.causal else _backward
            xq, xk = _chunks(q, ctx.size), _chunks(k, ctx.size)
            dq, dk, dv = backward(ctx.maps, xq, xk, queries, keys, grads, sums)
            b = q.shape[0]
            joined = [torch.cat([x.view(b, -1, *x.shape[1:]) for x in y], 2) for y in (dq, dk, dv)]
        return None, None, None, None, None, *joined


def fused(
    again: Callable[..., Tensor],
    maps: tuple[FeatureMap, FeatureMap],
    causal: bool,
    chunk_size: int,
    keep: Bool[Tensor, "B m"] | None,
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h m d"],
    v: Float[Tensor, "b h m e"],
) -> Float[Tensor, "b h n e"]:
    """Return the attended values (see `_Fused`).

    Args:
        again: computes the same of (q, k, v) by differentiable operations, for second derivatives.
        maps: of queries and of keys; both know their `vjp`.
        causal: query i sees the keys up to i (n = m); else all.
        chunk_size: C, tokens at once.
        keep: False where a key is hidden, for each of the B = b h heads.
        q: queries, of the floating type in which all is computed.
        k: keys, likewise.
        v: values, likewise.
    """
    arguments = (again, maps, causal, chunk_size, keep, q, k, v)
    return _Fused.apply(*arguments)  # type: ignore[no-untyped-call]


def _backward(
    maps: tuple[FeatureMap, FeatureMap],
    xq: list[Tensor],
    xk: list[Tensor],
    queries: list[_Queries],
    keys: list[_Keys],
    grads: list[Tensor],
    sums: Tensor,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    dq, dk, dv = [], [], []
    dsums = torch.zeros_like(sums)
    for x, query, g in zip(xq, queries, grads, strict=True):
        dq.append(maps[0].vjp(x, query.features, torch.bmm(g, sums.mT)))
        dsums.baddbmm_(query.features.mT, g)
    for x, key in zip(xk, keys, strict=True):
        dv.append(torch.bmm(key.features, dsums[..., :-1]).mul_(key.decay))
        dk.append(maps[1].vjp(x, key.features, torch.bmm(key.value * key.decay, dsums.mT)))
    return dq, dk, dv


def _causal_backward(
    maps: tuple[FeatureMap, FeatureMap],
    xq: list[Tensor],
    xk: list[Tensor],
    queries: list[_Queries],
    keys: list[_Keys],
    grads: list[Tensor],
    sums: Tensor,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    dq, dk, dv, dweights = [], [], [], []
    sums = torch.zeros_like(sums)
    for x, query, key, g in zip(xq, queries, keys, grads, strict=True):
        dweights.append(torch.bmm(g, key.value.mT).mul_(query.within))
        t = torch.bmm(dweights[-1], key.features).baddbmm_(g * query.decay, sums.mT)
        dq.append(maps[0].vjp(x, query.features, t))
        _absorb(sums, key.fade, key.features, key.value * key.decay)
    dsums = sums.zero_()
    for x, query, key, g, dw in list(zip(xk, queries, keys, grads, dweights, strict=True))[::-1]:
        t = torch.bmm(key.features, dsums[..., :-1]).mul_(key.decay)
        dv.append(t.baddbmm_(query.weights.mT, g[..., :-1]))
        t = torch.bmm(dw.mT, query.features).baddbmm_(key.value * key.decay, dsums.mT)
        dk.append(maps[1].vjp(x, key.features, t))
        _absorb(dsums, key.fade, query.features, g * query.decay)
    return dq, dk[::-1], dv[::-1]
