"""What the schedules share: a linear warm-up, then a curve over the rest of the run."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from suexp.component import Component


class WarmUp(LRScheduler, Component):
    r"""The peak learning rate of each group times a factor of the step.

    With w warm-up steps out of T, step t = 0, 1, ... has the factor

        $(t + 1) / (w + 1)$ for $t < w$, else $f((t - w) / (T - w))$, and $f(1)$ after T,

    so no step is lost at rate 0; the peak, f(0) = 1, is reached at t = w.

    Args:
        optimizer: its groups' learning rates are the peaks.
        total_steps: T, counted as the optimizer's steps are.
        warmup: below 1 a share of total_steps, from 1 on a whole number of steps w.
        final_ratio: what f ends at.

    Raises:
        ValueError: warmup negative, not whole, or longer than the run; final_ratio outside [0, 1];
            no steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        warmup: float | int,
        final_ratio: float | int = 1.0,
    ) -> None:
        if total_steps < 1:
            raise ValueError(f"total_steps={total_steps}: a schedule needs at least one step")
        if not 0 <= final_ratio <= 1:
            raise ValueError(f"final_ratio={final_ratio} must lie in [0, 1]")
        self.total_steps = total_steps
        self.warmup_steps = _steps(warmup, total_steps)
        self.final_ratio = final_ratio
        super().__init__(optimizer)

    def curve(self, progress: float) -> float:
        """Return f at a progress in [0, 1] since the end of the warm-up."""
        raise NotImplementedError

    def factor(self, step: int) -> float:
        """Return the factor of a step; after the last it stays at the curve's end."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        rest = self.total_steps - self.warmup_steps
        return self.curve(min((step - self.warmup_steps) / rest, 1.0) if rest else 0.0)

    def get_lr(self) -> list[Any]:
        """Return each group's learning rate at the current step."""
        return [peak * self.factor(self.last_epoch) for peak in self.base_lrs]


def _steps(warmup: float | int, total_steps: int) -> int:
    if not warmup >= 0:
        raise ValueError(f"warmup={warmup} must not be negative")
    if warmup < 1:
        return round(warmup * total_steps)
    if warmup != int(warmup):
        raise ValueError(f"warmup={warmup}: give a share below 1 or a whole number of steps")
    if warmup > total_steps:
        raise ValueError(
            f"warmup={int(warmup)} steps do not fit into total_steps={total_steps}; give a share "
            "of them, such as warmup=0.1"
        )
    return int(warmup)
