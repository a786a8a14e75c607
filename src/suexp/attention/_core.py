"""What every attention over mapped queries and keys shares: masks, precision, state, dispatch."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from suexp.attention._feature_map import (
    FeatureMap,
    State,
    attend_all,
    attend_causal,
    attend_others,
    log_scales,
)
from suexp.attention._fused import fused
from suexp.attention.base import Attention, precision
from suexp.errors import at_least
from suexp.mask.base import Mask
from suexp.mask.bidirectional import Bidirectional
from suexp.mask.causal import Causal
from suexp.mask.exclude_self import ExcludeSelf
from suexp.mask.padding import Padding


class FeatureAttention(Attention):
    r"""$o_i = \phi(q_i)^\top \sum_j \phi(k_j) v_j^\top \big/ \phi(q_i)^\top \sum_j \phi(k_j)$.

    Shapes: q (b, h, n, d), k (b, h, m, d), v (b, h, m, e), output (b, h, n, e). With f features
    time is O(n f (d + e)), causal or not; everything is computed in float32 at least.

    Args:
        chunk_size: tokens that are processed at once; it changes speed, not results.

    Raises:
        ValueError: chunk_size below 1, a bias, or a mask other than causal, bidirectional,
            exclude_self and padding.
    """

    refuses: ClassVar[dict[str, str]] = {
        "score_bias": "a position bias needs explicit scores, which it never forms; "
        "use position=rope",
        "key_subsets": "it sums over all keys, all others or all earlier ones and cannot choose "
        "among them; use mask=causal, mask=bidirectional or attention=softmax",
    }
    # Chunks have a backward pass of their own (fused, see `suexp.attention._fused`), or else are
    # padded and joined by a product (see `_feature_map.attend_causal`).
    costs: ClassVar[dict[str, str]] = {
        "features": "mapping",
        "sums": "h * (m - seeing + padded) * f * e",
        "output": "h * padded * f * e",
        "normaliser": "h * (m - seeing + 2 * padded) * f",
        "chunks": "h * squares(padded, chunk) * (f + e + 1) if causal else 0",
        "joining": "h * (padded // chunk) ** 2 * f * (e + 1) if joined else 0",
    }
    mapping: ClassVar[str] = "0"
    fused: ClassVar[str] = "1"
    joined: ClassVar[str] = "causal and (n < m or not fused)"
    chunk: ClassVar[str] = "min(seeing, max(chunk_size, isqrt(seeing))) if joined else chunk_size"
    padded: ClassVar[str] = "-(-seeing // chunk) * chunk if joined else seeing"
    saved: ClassVar[str] = (
        "mapped + h * (by_chunks if fused else by_joining if causal else by_sums)"
        " + (chunk ** 2 / 4 if joined and scaled else 0)"
    )
    # What each way of computing keeps for a head; what the maps keep beside their features.
    by_chunks: ClassVar[str] = (
        "(n + m) * f + m * (e + 1) + n + f * (e + 1) + (squares(n, chunk_size) if causal else 0)"
        " + (m + (squares(n, chunk_size) + n - -n // chunk_size if causal else 0) if scaled else 0)"
    )
    by_sums: ClassVar[str] = (
        "(n + m) * f + f * (e + 1) + m + (n + m) * (e + 1) + (m * (e + 1) if scaled else 0)"
        " + 5 / 4 * n"
    )
    by_joining: ClassVar[str] = (
        "padded * (2 * f + chunk * (3 if scaled else 2) + 3 * (e + 1) + 13 / 4)"
        " + padded // chunk * f * (e + 1) + (padded // chunk) ** 2"
    )
    mapped: ClassVar[str] = "0"
    scaled: ClassVar[str] = "0"
    state: ClassVar[str] = "h * (f * (e + 1) + 1)"

    def __init__(self, chunk_size: int) -> None:
        super().__init__()
        at_least(1, chunk_size=chunk_size)
        self.chunk_size = chunk_size

    def maps(self, dtype: torch.dtype) -> tuple[FeatureMap, FeatureMap]:
        """Return the maps of queries and of keys, to be computed in this type."""
        raise NotImplementedError

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values; zeros for a query that may look at nothing."""
        out = self._attend(q, k, v, mask, bias)
        self.look(out, q, k, v, mask)
        return out

    def look(self, out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Mask) -> None:
        """Look at what comes out, for a warning; here at nothing."""

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Mask, bias: Tensor | None) -> Tensor:
        causal, keep = self._read(mask, bias)
        n, m = q.shape[-2], k.shape[-2]
        if 0 in (*q.shape[:-1], m):  # nobody asks, or there is nothing: an empty sum
            return q @ k.mT @ v
        if causal and n > m:  # the first queries stand before all keys
            return F.pad(self._attend(q[..., n - m :, :], k, v, mask, None), (0, 0, n - m, 0))
        maps = self.maps(precision(q))
        if mask.find(ExcludeSelf) is not None:
            if n != m:
                raise ValueError(
                    f"mask=exclude_self needs as many queries as keys, not {n} and {m}"
                )
            return self._others(maps, q, k, v, keep)
        if causal and n < m:
            past = m - n
            old, new = (None, None) if keep is None else (keep[:, :past], keep[:, past:])
            nothing = q[..., :0, :]
            _, state = _step(maps, nothing, k[..., :past, :], v[..., :past, :], old, None)
            k, v = k[..., past:, :], v[..., past:, :]
            return _step(maps, q, k, v, new, self.chunk_size, state)[0]
        chunk_size = self.chunk_size if causal else None

        def again(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return _step(maps, q, k, v, keep, chunk_size)[0]

        on_cpu = q.device.type == "cpu" and not torch.compiler.is_compiling()
        if not (on_cpu and all(x.fusible for x in maps)):
            return again(q, k, v)
        size = self.chunk_size
        if not causal:  # nothing is quadratic in the size then: let a chunk fill the cache
            size = max(size, 2**19 // (q.shape[0] * q.shape[1] * q.shape[3]))
        with torch.autocast("cpu", enabled=False):
            q, k, values = (x.to(precision(x)) for x in (q, k, v))
            heads = None if keep is None else keep.repeat_interleave(q.shape[1], 0)
            return fused(again, maps, causal, size, heads, q, k, values).to(v.dtype)

    def _others(
        self,
        maps: tuple[FeatureMap, FeatureMap],
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        v: Float[Tensor, "b h n e"],
        keep: Bool[Tensor, "b n"] | None,
    ) -> Float[Tensor, "b h n e"]:
        """Attend to all keys but the query's own."""
        b, h, n, _ = q.shape
        with torch.autocast(q.device.type, enabled=False):
            x, y, values = (z.flatten(0, 1).to(precision(z)) for z in (q, k, v))
            fk, scale = maps[1](y)
            s = log_scales(scale, fk, None if keep is None else keep.repeat_interleave(h, 0))
            size = max(self.chunk_size, math.isqrt(n))
            out = attend_others(maps[0](x)[0], fk, s, values, size)
        return out.view(b, h, n, v.shape[-1]).to(v.dtype)

    def decode(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        v: Float[Tensor, "b h n e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        state: State | None = None,
    ) -> tuple[Float[Tensor, "b h n e"], State]:
        """Attend from n new tokens to all so far; the state is f (e + 1) sums a head."""
        causal, keep = self._read(mask, bias)
        n = q.shape[-2]
        new = None if keep is None else keep[:, -n:]
        chunk_size = self.chunk_size if causal and n > 1 else None
        return _step(self.maps(precision(q)), q, k, v, new, chunk_size, state)

    def _read(self, mask: Mask, bias: Tensor | None) -> tuple[bool, Bool[Tensor, "b m"] | None]:
        """Return whether the mask is causal, and which keys of each text are real."""
        name = type(self).__name__.lower()
        if bias is not None:
            raise ValueError(f"attention={name} takes no bias: {self.refuses['score_bias']}")
        strict = mask.find(ExcludeSelf) is not None and mask.find(Causal) is not None
        if strict or not mask.is_only(Causal, Bidirectional, Padding, ExcludeSelf):
            reason = self.refuses["key_subsets"]
            raise ValueError(f"attention={name} cannot use this mask: {reason}")
        keep: Tensor | None = None
        for part in mask.parts:
            if isinstance(part, Padding):
                keep = part.keep if keep is None else keep & part.keep
        return mask.find(Causal) is not None, keep

    def sees(self, mask: Mask, n: int, m: int) -> Bool[Tensor, "#b n"] | None:
        """Tell which of n queries may look at any of m keys; None: all of them."""
        causal, keep = self._read(mask, None)
        others = mask.find(ExcludeSelf) is not None
        if keep is None and not others and not (causal and n > m):
            return None
        keep = torch.ones(1, m, dtype=torch.bool) if keep is None else keep
        if others:
            return keep.sum(-1, keepdim=True) > keep.int()
        if causal:
            return F.pad(keep.cumsum(-1), (max(n - m, 0), 0))[:, -n:] > 0
        return keep.any(-1, keepdim=True).expand(-1, n)

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return f"chunk_size={self.chunk_size}"


def _step(
    maps: tuple[FeatureMap, FeatureMap],
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h m d"],
    v: Float[Tensor, "b h m e"],
    keep: Bool[Tensor, "b m"] | None,
    chunk_size: int | None,
    state: State | None = None,
) -> tuple[Float[Tensor, "b h n e"], State]:
    """Attend to the state and the keys; chunk_size None: to all of them, whatever their order."""
    b, h, n, _ = q.shape
    with torch.autocast(q.device.type, enabled=False):
        x, y, values = (z.flatten(0, 1).to(precision(z)) for z in (q, k, v))
        fq, _ = maps[0](x)
        fk, scale = maps[1](y)
        s = log_scales(scale, fk, None if keep is None else keep.repeat_interleave(h, 0))
        old = None if state is None else State(*(z.flatten(0, 1) for z in state))
        if old is None and chunk_size is not None and maps[1].floor:
            sums = fk.new_zeros(b * h, fk.shape[-1], v.shape[-1] + 1)
            sums[..., -1] = maps[1].floor
            old = State(sums, fk.new_zeros(b * h))
        if chunk_size is None:
            out, new = attend_all(fq, fk, s, values, old)
        else:
            # Chunks are joined by a product quadratic in their number: that must stay small.
            out, new = attend_causal(fq, fk, s, values, max(chunk_size, math.isqrt(n)), old)
        out = out.view(b, h, n, v.shape[-1]).to(v.dtype)
        return out, State(*(z.view(b, h, *z.shape[1:]) for z in new))
