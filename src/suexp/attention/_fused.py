"""Attention over mapped keys on a CPU: chunks that fit the cache, with a backward of their own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from suexp.attention._feature_map import NOTHING, FeatureMap, denominator, log_scales


class _Kept(NamedTuple):
    """What backward reads, besides inputs and output. Lists run over N chunks of C tokens.

    Decays keep the sums in range; they are relative to running maxima of the keys' log scales, and
    there are none where all these are 0.
    """

    fq: list[Tensor]  # (B, C, f), mapped queries
    fk: list[Tensor]  # (B, C, f), mapped keys
    within: list[Tensor] | None  # (B, C, C), decay from own key to query, 0 above the diagonal
    weights: list[Tensor]  # (B, C, C), products of queries with own keys, times within
    v1: Tensor  # (B, m, e + 1), values and a column of ones
    below: Tensor  # (B, n, 1), denominators
    sums: Tensor  # (B, e + 1, f), over all keys; in this order no register is left half empty
    query: Tensor | None  # (B, n, 1), decay from the sums before a chunk to its queries
    key: Tensor | None  # (B, m, 1), decay from a key to the sums after its chunk
    fade: Tensor | None  # (N, B, 1, 1), decay from the sums before a chunk to those after it


class _Fused(torch.autograd.Function):
    r"""$o_i = \phi(q_i) S_i / \phi(q_i) z_i$: features are made, used and differentiated by chunks.

    Kept for backward are the features and, if causal, 2 C numbers a token; the sums of earlier keys
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
        """Return the attended values."""
        fq = [maps[0](x)[0] for x in _chunks(q, size)]
        mapped = [maps[1](x) for x in _chunks(k, size)]
        fk = [x for x, _ in mapped]
        v1 = F.pad(v.flatten(0, 1), (0, 1), value=1.0)
        sums = v1.new_zeros(v1.shape[0], v1.shape[-1], fk[0].shape[-1])
        s = None
        if keep is not None or any(scale is not None for _, scale in mapped):
            s = torch.cat([log_scales(scale, x, None) for x, scale in mapped], 1)
            s = log_scales(s, s, keep)
        query = key = fade = within = None
        if s is not None and causal:
            query, key, fade, within = _decays(s, size)
        elif s is not None:
            key = (s - s.amax(-1, keepdim=True).clamp_min_(NOTHING)).exp_()[..., None]
        value, weighted = torch.split(v1, size, 1), torch.split(_scaled(v1, key), size, 1)
        weights: list[Tensor] = []
        if causal:
            columns = []
            decay = None if query is None else torch.split(query, size, 1)
            for c, (x, y) in enumerate(zip(fq, fk, strict=True)):
                weights.append(_earlier(torch.bmm(x, y.mT), within, c))
                earlier = torch.bmm(sums, x.mT)
                if decay is not None:
                    earlier.mul_(decay[c].mT)
                columns.append(earlier.baddbmm_(value[c].mT, weights[c].mT))
                if fade is not None:
                    sums.mul_(fade[c])
                sums.baddbmm_(weighted[c].mT, y)
        else:
            for y, w in zip(fk, weighted, strict=True):
                sums.baddbmm_(w.mT, y)
            columns = [torch.bmm(sums, x.mT) for x in fq]
        rows = _joined(columns, -1).mT
        below = denominator(rows)
        b, h, n, _ = q.shape
        # The shell joins heads token by token: in this memory order that costs no copy.
        out = v.new_empty(b, n, h, v.shape[-1]).transpose(1, 2)
        torch.div(rows[..., :-1].view(out.shape), below.view(b, h, n, 1), out=out)
        ctx.again, ctx.maps, ctx.causal, ctx.size = again, maps, causal, size
        ctx.counts = len(fq), len(fk), len(within or ()), len(weights)
        whole = (v1, below, sums, query, key, fade)
        ctx.save_for_backward(q, k, v, out, *fq, *fk, *(within or ()), *weights, *whole)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for q, k and v."""
        q, k, v, out, *rest = ctx.saved_tensors
        nothing = (None,) * 5
        if torch.is_grad_enabled():  # somebody wants to differentiate the gradient
            again = torch.autograd.grad(ctx.again(q, k, v), (q, k, v), grad, create_graph=True)
            return *nothing, *again
        lists = []
        for count in ctx.counts:
            lists.append(rest[:count])
            rest = rest[count:]
        lists[2] = lists[2] or None
        kept = _Kept(*lists, *rest)
        with torch.autocast("cpu", enabled=False):
            g = grad.flatten(0, 1) / kept.below
            g1 = torch.cat([g, -(g * out.flatten(0, 1)).sum(-1, keepdim=True)], -1)
            backward = _backward_causal if ctx.causal else _backward
            x, y = _chunks(q, ctx.size), _chunks(k, ctx.size)
            dq, dk, dv = (_joined(z, 1) for z in backward(ctx.maps, x, y, kept, g1, ctx.size))
        return *nothing, dq.view(q.shape), dk.view(k.shape), dv.view(v.shape)


def _chunks(x: Float[Tensor, "b h n d"], size: int) -> list[Tensor]:
    return [c.flatten(0, 1).contiguous() for c in torch.split(x, size, 2)]


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _scaled(x: Tensor, factor: Tensor | None) -> Tensor:
    return x if factor is None else x * factor


def _earlier(products: Tensor, within: list[Tensor] | None, c: int) -> Tensor:
    """Return the products of a chunk's queries with its own keys up to each, decayed, in place."""
    return products.tril_() if within is None else products.mul_(within[c])


def _decays(
    s: Float[Tensor, "B n"], size: int
) -> tuple[Float[Tensor, "B n 1"], Float[Tensor, "B n 1"], Float[Tensor, "N B 1 1"], list[Tensor]]:
    running = torch.cummax(s, -1).values.clamp_min_(NOTHING)
    n = s.shape[1]
    last = torch.arange(size - 1, n + size - 1, size).clamp_max_(n - 1)
    end = running[:, last]
    start = F.pad(end[:, :-1], (1, 0), value=NOTHING)

    def each(x: Tensor) -> Tensor:
        return x.repeat_interleave(size, 1)[:, :n]

    within = [
        (x[:, None, :] - t[:, :, None]).exp_().tril_()
        for x, t in zip(torch.split(s, size, 1), torch.split(running, size, 1), strict=True)
    ]
    query, key = (each(start) - running).exp_(), (s - each(end)).exp_()
    return query[..., None], key[..., None], (start - end).exp_().mT[..., None, None], within


def _backward(
    maps: tuple[FeatureMap, FeatureMap],
    q: list[Tensor],
    k: list[Tensor],
    kept: _Kept,
    g1: Float[Tensor, "B n e1"],
    size: int,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    dq, dk, dv = [], [], []
    dsums = torch.zeros_like(kept.sums)
    for x, fx, g in zip(q, kept.fq, torch.split(g1, size, 1), strict=True):
        dq.append(maps[0].vjp(x, fx, torch.bmm(g, kept.sums)))
        dsums.baddbmm_(g.mT, fx)
    decay = None if kept.key is None else torch.split(kept.key, size, 1)
    for c, weighted in enumerate(torch.split(_scaled(kept.v1, kept.key), size, 1)):
        dvalue = torch.bmm(kept.fk[c], dsums[:, :-1].mT)
        dv.append(dvalue if decay is None else dvalue.mul_(decay[c]))
        dk.append(maps[1].vjp(k[c], kept.fk[c], torch.bmm(weighted, dsums)))
    return dq, dk, dv


def _backward_causal(
    maps: tuple[FeatureMap, FeatureMap],
    q: list[Tensor],
    k: list[Tensor],
    kept: _Kept,
    g1: Float[Tensor, "B n e1"],
    size: int,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    dq, dk, dv, dweights = [], [], [], []
    whole = (kept.v1, _scaled(kept.v1, kept.key), g1, _scaled(g1, kept.query))
    value, weighted, grad, faded = (torch.split(x, size, 1) for x in whole)
    decay = None if kept.key is None else torch.split(kept.key, size, 1)
    sums = torch.zeros_like(kept.sums)
    for c, x in enumerate(q):  # forward in time, with the sums of earlier keys
        dweights.append(_earlier(torch.bmm(grad[c], value[c].mT), kept.within, c))
        dfq = torch.bmm(dweights[c], kept.fk[c]).baddbmm_(faded[c], sums)
        dq.append(maps[0].vjp(x, kept.fq[c], dfq))
        if kept.fade is not None:
            sums.mul_(kept.fade[c])
        sums.baddbmm_(weighted[c].mT, kept.fk[c])
    dsums = sums.zero_()
    for c in reversed(range(len(k))):  # backward in time, with what later queries ask of the sums
        dvalue = torch.bmm(kept.fk[c], dsums[:, :-1].mT)
        if decay is not None:
            dvalue.mul_(decay[c])
        dv.append(dvalue.baddbmm_(kept.weights[c].mT, grad[c][..., :-1]))
        dfk = torch.bmm(dweights[c].mT, kept.fq[c]).baddbmm_(weighted[c], dsums)
        dk.append(maps[1].vjp(k[c], kept.fk[c], dfk))
        if kept.fade is not None:
            dsums.mul_(kept.fade[c])
        dsums.baddbmm_(faded[c].mT, kept.fq[c])
    return dq, dk[::-1], dv[::-1]


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
