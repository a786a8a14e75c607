"""Tiger, the "tight-fisted" optimizer of the blog's author: signs scaled by the weights' size."""

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from suexp.errors import at_least
from suexp.optimizer.base import (
    MomentumOptimizer,
    blocks,
    check,
    compute_dtype,
    evaluated,
    groups,
    is_plain,
    scale_add_,
)


class Tiger(MomentumOptimizer):
    r"""The sign of the momentum, scaled by the RMS of the parameter; k batches cost no buffer.

    In order of execution, at micro-step t = 0, 1, ... with $m = 0$ before the first and
    $\beta' = \beta$ in the first micro-step of a cycle of k, else 1:

        $m_{t+1} = \beta' m_t + \frac{1 - \beta}{k} g_t$
        at its end: $\theta \leftarrow \theta - \eta s (\mathrm{sign}(m_{t+1}) + \lambda \theta)$

    which equals one step on a batch k times as large. $s$ depends on the parameter: for a matrix
    RMS($\theta$) before the step, for an embedding that of each row, for gains and biases 0.5. The
    kind is the group's ``kind`` (`suexp.nn.param_groups`); in a group without one, a parameter of
    fewer than two axes counts as a bias and does not decay.

    Shapes: $\theta$, g, m are equal, of any shape; s is one number, or (rows, 1) for an embedding.
    Learning-rate schedules count micro-steps.

    A parameter with a NaN or an infinity in its gradient keeps its m and makes no step but
    $\theta \leftarrow c + r(\theta - c)$, with c = 1 for gains, else 0. The author guards against
    NaN only; an infinity would stay in m for good. A sparse gradient is refused (UserError). As
    with `Lion`, all is computed in at least float32.

    References: https://kexue.fm/archives/9512, the author's code https://github.com/bojone/tiger;
    accumulation inside the momentum: https://kexue.fm/archives/8634.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$; 1e-3 as in the author's code.
        beta: $\beta$; 0.965 as in the author's code.
        weight_decay: $\lambda$, decoupled, times the learning rate and s.
        grad_accum_steps: k. With more than 1 do not accumulate in the trainer too.
        shrink_ratio: r.
        min_rms: lower bound of s for matrices and embeddings. With 0, as in the original, a
            parameter that is all zeros never moves; the first step warns of one.
        momentum_dtype: type that m is kept in, such as ``bfloat16``; None: as the parameter, but at
            least float32.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: as `Lion`; grad_accum_steps below 1, shrink_ratio outside [0, 1], negative
            min_rms.

    Example:
        >>> import torch
        >>> from suexp.optimizer import Tiger
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> w.grad = torch.tensor([0.3, -5.0])
        >>> Tiger([w], lr=0.1, weight_decay=0.0).step()
        >>> w.data
        tensor([ 0.9500, -1.9500])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 1e-3,
        beta: float | int = 0.965,
        weight_decay: float | int = 0.01,
        grad_accum_steps: int = 1,
        shrink_ratio: float | int = 0.99,
        min_rms: float | int = 0.0,
        momentum_dtype: str | None = None,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay, beta)
        at_least(1, grad_accum_steps=grad_accum_steps)
        if not 0 <= shrink_ratio <= 1:
            raise ValueError(f"shrink_ratio={shrink_ratio} must lie in [0, 1]")
        if not min_rms >= 0:
            raise ValueError(f"min_rms={min_rms} must not be negative")
        defaults = {
            "lr": lr,
            "beta": beta,
            "weight_decay": weight_decay,
            "grad_accum_steps": grad_accum_steps,
            "shrink_ratio": shrink_ratio,
            "min_rms": min_rms,
            "momentum_dtype": momentum_dtype,
            "step": 0,
        }
        super().__init__(groups(params, decay_embeddings), defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one micro-step; a closure computes the loss anew, which is returned."""
        loss = evaluated(closure)
        t = self.param_groups[0]["step"]
        for group in self.param_groups:
            group["step"] = t + 1  # a group that was added later falls in step
            k = group["grad_accum_steps"]
            first, last = t % k == 0, (t + 1) % k == 0
            for p in group["params"]:
                if p.numel() == 0 or (p.grad is None and p not in self.state):
                    continue
                state = self._state_of(p, group)
                if k > 1 and first:
                    state["fresh"].fill_(1)
                if p.grad is not None:
                    update = _update if is_plain(p) else _update_unseen
                    update(p, self.gradient(p), state, group, last)
                elif k > 1 and last:  # its share of the cycle may have come earlier
                    _update_unseen(p, None, state, group, last)
        return loss

    def _state_of(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        state = self.state[p]
        if not state:
            if _kind(p, group) in ("matrix", "embedding") and not (group["min_rms"] or p.any()):
                warnings.warn(
                    "Tiger scales by RMS of the weight: a zero-initialised factor would stay zero; "
                    "set optimizer.min_rms",
                    stacklevel=4,
                )
            self.momentum(p, group)
            if group["grad_accum_steps"] > 1:
                state["fresh"] = p.new_ones(())  # 1: no gradient yet in this cycle
        return state


def _update(
    p: Tensor, g: Tensor, state: dict[str, Tensor], group: dict[str, Any], last: bool
) -> None:
    """Update where looking at a number costs nothing: in blocks, in few passes over memory."""
    k, beta, lr = group["grad_accum_steps"], group["beta"], group["lr"]
    s = _scale(p, group) if last else 0.0  # first, so that g is still in cache for what follows
    if not math.isfinite(float(_total(g))):
        r, c = group["shrink_ratio"], _centre(p, group)
        p.mul_(r).add_(c * (1 - r))
        return
    keep = beta if k == 1 or state["fresh"] else 1.0
    if k > 1:
        state["fresh"].zero_()
    decay = lr * _weight_decay(p, group)
    rows = [s] if isinstance(s, Tensor) and s.ndim else []
    s = float(s) if not rows else s
    for pb, gb, mb, *sb in blocks(p, g, state["momentum"], *rows):
        if k == 1:
            mb.lerp_(gb, 1 - beta)
        else:
            scale_add_(mb, gb, keep, (1 - beta) / k)
        if not last:
            continue
        if sb:
            pb.mul_(1 - decay * sb[0]).addcmul_(mb.sign(), sb[0], value=-lr)
        else:
            scale_add_(pb, mb.sign(), 1 - decay * s, -lr * s)


def _update_unseen(
    p: Tensor, g: Tensor | None, state: dict[str, Tensor], group: dict[str, Any], last: bool
) -> None:
    """Update without looking at any number, so that an accelerator need not be waited for."""
    k, beta, lr = group["grad_accum_steps"], group["beta"], group["lr"]
    dtype = compute_dtype(p)
    old, m = p.to(dtype), state["momentum"].to(dtype)
    new = old
    if g is None:
        moves = state["fresh"] == 0
    else:
        moves = _total(g).isfinite()
        keep = 1 - (1 - beta) * state["fresh"] if k > 1 else beta
        m = torch.where(moves, keep * m + (1 - beta) / k * g.to(dtype), m)
        r, c = group["shrink_ratio"], _centre(p, group)
        new = torch.where(moves, old, r * old + c * (1 - r))
        if k > 1:
            state["fresh"].mul_(~moves)
    if last:
        s = _scale(p, group)
        decay = lr * _weight_decay(p, group)
        new = torch.where(moves, old * (1 - decay * s) - lr * s * m.sign(), new)
    p.copy_(new)
    state["momentum"].copy_(m)


def _total(g: Tensor) -> Tensor:
    """Return a sum that is finite where all components are: the cheapest look at all of them."""
    return g.sum(dtype=compute_dtype(g))


def _kind(p: Tensor, group: dict[str, Any]) -> str:
    return group.get("kind") or ("matrix" if p.ndim > 1 else "bias")


def _centre(p: Tensor, group: dict[str, Any]) -> float:
    return 1.0 if _kind(p, group) == "gain" else 0.0


def _weight_decay(p: Tensor, group: dict[str, Any]) -> float:
    return group["weight_decay"] if "kind" in group or p.ndim > 1 else 0.0


def _scale(p: Tensor, group: dict[str, Any]) -> Tensor | float:
    """Return s: a number, or one for each row."""
    kind = _kind(p, group)
    if kind in ("gain", "bias"):
        return 0.5
    dtype = compute_dtype(p)
    if kind == "embedding" and p.ndim > 1:
        rms = torch.linalg.vector_norm(p, dim=-1, keepdim=True, dtype=dtype) / p.shape[-1] ** 0.5
        return rms.clamp(min=group["min_rms"])
    if is_plain(p) and p.dtype is dtype and p.is_contiguous():
        flat = p.view(-1)
        square = float(torch.dot(flat, flat))  # in parallel, unlike a norm
        return max(math.sqrt(square / p.numel()), group["min_rms"])
    rms = torch.linalg.vector_norm(p, dtype=dtype) / p.numel() ** 0.5
    return rms.clamp(min=group["min_rms"])
