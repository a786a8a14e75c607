"""Steps that k batches make: which of a parameter's buffers is fed, and when it moves."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from suexp.errors import at_least
from suexp.optimizer.base import Buffered, compute_dtype, evaluated


class MicroSteps(Buffered):
    """An optimizer each of whose updates takes the gradients of ``grad_accum_steps`` micro-steps.

    A micro-step without a gradient counts as one with zeros, as in the mean over a larger batch; a
    parameter without any in a whole cycle stays as it is, and so does its state.
    """

    provides: ClassVar[set[str]] = {"diagnostics"}

    buffers: tuple[str, ...]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take a group after a look at its settings.

        Raises:
            ValueError: grad_accum_steps below 1, a complex parameter.
        """
        at_least(1, grad_accum_steps={**self.defaults, **param_group}["grad_accum_steps"])
        super().add_param_group(param_group)

    @property
    def updates(self) -> int:
        """How many of the micro-steps so far have moved the parameters."""
        group = self.param_groups[0]
        return int(group["step"]) // self.period(group)

    def diagnostics(self) -> dict[str, float]:
        """Return ``updates``."""
        return {"updates": float(self.updates)}

    def period(self, group: dict[str, Any]) -> int:
        """Return the micro-steps from one update to the next."""
        return int(group["grad_accum_steps"])

    def feed(self, params: list[Tensor], group: dict[str, Any], first: bool) -> None:
        """Take the gradients of parameters into their buffers.

        Args:
            params: those that have one.
            group: their settings.
            first: whether it is their first in this cycle.
        """
        raise NotImplementedError

    def move(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Update parameters by what their buffers hold."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one micro-step; a closure computes the loss anew, which is returned."""
        loss = evaluated(closure)
        t = self.param_groups[0]["step"]
        for group in self.param_groups:
            group["step"] = t + 1  # a group that was added later falls in step
            k = group["grad_accum_steps"]
            fed: tuple[list[Tensor], list[Tensor]] = ([], [])
            moved = []
            for p in group["params"]:
                if p.numel() == 0 or (p.grad is None and p not in self.state):
                    continue
                state = self._state_of(p)
                if t % k == 0:
                    state["seen"] = 0
                if p.grad is not None:
                    fed[state["seen"] == 0].append(p)
                    state["seen"] += 1
                due = (t + 1) % self.period(group) == 0
                if due and (state["seen"] if self.period(group) > 1 else p.grad is not None):
                    moved.append(p)
            for first in (True, False):
                if fed[first]:
                    self.feed(fed[first], group, first)
            if moved:
                self.move(moved, group)
        return loss

    def _state_of(self, p: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[p]
        if not state:
            state["step"] = 0  # as the bias corrections count
            state["seen"] = 0  # gradients in this cycle
            for name in self.buffers:
                # Not in 16 bits: there a k-th part of a gradient would be rounded away.
                state[name] = torch.zeros_like(p, dtype=compute_dtype(p))
        return state
