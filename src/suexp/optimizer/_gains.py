"""Optimizers with a gain for each component of the parameters."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from suexp.optimizer.base import PLAIN, Buffered, compute_dtype

_SAMPLE = 100_000  # components from which quantiles are read


def check_bounds(what: str, low: float, high: float) -> None:
    """Refuse bounds between which 1, where all begin, does not lie.

    Raises:
        ValueError: one line.
    """
    if not 0 <= low <= 1 <= high:
        raise ValueError(f"min_{what}={low} and max_{what}={high}: 1 must lie between them")


def clip_(x: list[Tensor], low: float, high: float) -> None:
    """Clip the components of tensors."""
    if low > 0:
        torch._foreach_clamp_min_(x, low)
    if high < float("inf"):
        torch._foreach_clamp_max_(x, high)


class Gains(Buffered):
    """An optimizer whose state holds a ``gain`` for each component, 1 at first.

    All state is in at least float32.
    """

    provides: ClassVar[set[str]] = {"diagnostics"}

    buffers: ClassVar[tuple[str, ...]]

    def diagnostics(self) -> dict[str, float]:
        """Return mean, 5 % and 95 % quantile of the gains, of a sample where there are many."""
        gains = torch.cat([whole(state["gain"]).flatten() for state in self.state.values()])
        gains = gains[:: -(-len(gains) // _SAMPLE)].double()
        low, high = torch.quantile(gains, torch.tensor([0.05, 0.95]).to(gains)).tolist()
        return {"gain_mean": float(gains.mean()), "gain_p05": low, "gain_p95": high}

    def moving(self, group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        """Return a group's parameters that have a gradient, and these, as wide as the state."""
        params = [p for p in group["params"] if p.grad is not None and p.numel()]
        for p in params:
            state = self.state[p]
            if not state:
                for name in self.buffers:
                    state[name] = torch.zeros_like(p, dtype=compute_dtype(p))
                state["gain"] = torch.ones_like(p, dtype=compute_dtype(p))
        return params, [self.gradient(p).to(compute_dtype(p)) for p in params]


def copy_(to: list[Tensor], source: list[Tensor]) -> None:
    """Copy tensors; torch has no such list of those that processes share."""
    if all(type(x) in PLAIN for x in to):
        torch._foreach_copy_(to, source)
        return
    for old, new in zip(to, source, strict=True):
        old.copy_(new)


def whole(x: Any) -> Tensor:
    """Return a tensor whole, where it is shared by processes."""
    found: Tensor = x.full_tensor() if hasattr(x, "full_tensor") else x
    return found
