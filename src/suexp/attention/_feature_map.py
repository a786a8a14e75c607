r"""Attention as sums over mapped keys, $o_i = \phi(q_i) S_i / \phi(q_i) z_i$, in plain operations.

This form is differentiable any number of times, compiles, carries a state from call to call and
suits devices on which many small launches are slow; `_fused` computes the same faster on a CPU.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

# Logarithms of weights: that of a hidden key, and the largest so far when no key was seen yet.
# Differences of the two still underflow to weight 0, and no infinity ever meets another.
HIDDEN = -1e30
NOTHING = -1e15


class FeatureMap:
    r"""Maps x (B, n, d) to features; the true $\phi(x)$ is ``features * exp(log_scale)``."""

    fusible = True  # whether `vjp` is there
    floor = 0.0  # added to each feature's sum over earlier keys, if causal

    def __call__(
        self, x: Float[Tensor, "B n d"]
    ) -> tuple[Float[Tensor, "B n f"], Float[Tensor, "B n"] | None]:
        """Return features of moderate size and the logarithm of each row's scale (None: all 0)."""
        raise NotImplementedError

    def vjp(
        self, x: Float[Tensor, "B n d"], features: Float[Tensor, "B n f"], grad: Tensor
    ) -> Float[Tensor, "B n d"]:
        """Return the gradient for x, given that for the scaled features, which may be overwritten.

        Because scaling a row is multiplying its features, the gradient for ``log_scale`` is
        ``(grad * features).sum(-1)``; it is part of the result.
        """
        raise NotImplementedError


class State(NamedTuple):
    """What a linear attention keeps of the past; its size does not depend on how long that was."""

    sums: Float[Tensor, "*B f e1"]  # of feature x (value, 1), relative to exp(log_max)
    log_max: Float[Tensor, "*B"]  # the largest log_scale so far


def normalise(sums: Float[Tensor, "B n e1"]) -> Float[Tensor, "B n e"]:
    """Divide by the last column; rows that saw no key give zeros."""
    return sums[..., :-1] / denominator(sums)


def denominator(sums: Float[Tensor, "B n e1"]) -> Float[Tensor, "B n 1"]:
    """Return the last column, with 1 where it vanishes: 0 / 1 has a harmless gradient."""
    last = sums[..., -1:]
    return torch.where(last.abs() > 1e6 * torch.finfo(last.dtype).tiny, last, 1.0)


def log_scales(
    log_scale: Tensor | None, features: Tensor, keep: Bool[Tensor, "B n"] | None
) -> Float[Tensor, "B n"]:
    """Return each key's log scale, 0 by default and `HIDDEN` where the key is hidden."""
    s = features.new_zeros(features.shape[:2]) if log_scale is None else log_scale
    return s if keep is None else s.masked_fill(~keep, HIDDEN)


def attend_all(
    q: Float[Tensor, "B n f"],
    k: Float[Tensor, "B m f"],
    s: Float[Tensor, "B m"],
    v: Float[Tensor, "B m e"],
    state: State | None = None,
) -> tuple[Float[Tensor, "B n e"], State]:
    r"""Let every query see the state and every key: $\phi(q)(\phi(k)^\top v)$ in this order."""
    top = s.detach().amax(-1).clamp_min(NOTHING)
    if state is not None:
        top = torch.maximum(top, state.log_max)
    sums = k.mT @ (F.pad(v, (0, 1), value=1.0) * (s - top[:, None]).exp()[..., None])
    if state is not None:
        sums = sums + (state.log_max - top).exp()[:, None, None] * state.sums
    return normalise(q @ sums), State(sums, top)


def attend_others(
    q: Float[Tensor, "B n f"],
    k: Float[Tensor, "B n f"],
    s: Float[Tensor, "B n"],
    v: Float[Tensor, "B n e"],
    chunk_size: int,
) -> Float[Tensor, "B n e"]:
    r"""Let query i see every key but the i-th, $\phi(q_i) \sum_{j \ne i} \phi(k_j) v_j^\top$.

    The own key is never added, for taking it away again would leave rounding errors of its size:
    chunks of C keys give their sums to all other chunks, and weigh their own keys one by one.
    """
    B, n = s.shape
    C = min(chunk_size, n)
    pad, shape = -n % C, (B, -(-n // C), C)
    top = s.detach().amax(-1).clamp_min(NOTHING)
    scale = F.pad((s - top[:, None]).exp(), (0, pad)).view(*shape, 1)
    v1 = F.pad(v, (0, 1), value=1.0)
    q, k, v1 = (F.pad(x, (0, 0, 0, pad)).view(*shape, x.shape[-1]) for x in (q, k, v1))
    v1 = v1 * scale
    own = k.mT @ v1
    N = own.shape[1]
    others = (1 - torch.eye(N, dtype=own.dtype, device=own.device)) @ own.flatten(2)
    itself = torch.eye(C, dtype=torch.bool, device=own.device)
    A = (q @ k.mT).masked_fill(itself, 0)
    return normalise((A @ v1 + q @ others.view_as(own)).flatten(1, 2))[:, :n]


def attend_causal(
    q: Float[Tensor, "B n f"],
    k: Float[Tensor, "B n f"],
    s: Float[Tensor, "B n"],
    v: Float[Tensor, "B n e"],
    chunk_size: int,
    state: State | None = None,
) -> tuple[Float[Tensor, "B n e"], State]:
    r"""Let query i see the state and the keys up to i, all chunks of C keys at once.

    Inside a chunk $A_{il} = \phi(q_i)\cdot\phi(k_l)\, e^{s_l - t_i}$ for $l \le i$, with the
    running maximum $t_i = \max_{l \le i} s_l$: no later key enters, not even by rounding. The sums
    of earlier chunks are combined by one product with the factors $e^{t_{c'} - t_c}$.
    """
    B, n = s.shape
    C = min(chunk_size, n)
    pad = -n % C
    shape = (B, -(-n // C), C)
    v1 = F.pad(v, (0, 1), value=1.0)
    q, k, v1 = (F.pad(x, (0, 0, 0, pad)).view(*shape, x.shape[-1]) for x in (q, k, v1))
    s = F.pad(s, (0, pad), value=HIDDEN).view(shape)
    before = s.new_full((B,), NOTHING) if state is None else state.log_max
    t = torch.cummax(s.detach().flatten(1), -1).values
    t = torch.maximum(t, before[:, None]).view(shape)
    end = t[..., -1]
    start = torch.cat([before[:, None], end[:, :-1]], 1)

    later = torch.ones(C, C, dtype=torch.bool, device=s.device).triu(1)
    A = (s[..., None, :] - t[..., None]).masked_fill(later, -torch.inf).exp() * (q @ k.mT)
    own = k.mT @ (v1 * (s - end[..., None]).exp()[..., None])
    N = own.shape[1]
    not_earlier = torch.ones(N, N, dtype=torch.bool, device=s.device).triu()
    fade = (end[:, None, :] - start[:, :, None]).masked_fill(not_earlier, -torch.inf).exp()
    sums = (fade @ own.flatten(2)).view_as(own)
    if state is not None:
        sums = sums + (before[:, None] - start).exp()[..., None, None] * state.sums[:, None]
    o = normalise((A @ v1 + (q @ sums) * (start[..., None] - t).exp()[..., None]).flatten(1, 2))
    last = sums[:, -1] * (start[:, -1] - end[:, -1]).exp()[:, None, None] + own[:, -1]
    return o[:, :n], State(last, end[:, -1])
