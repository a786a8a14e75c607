"""A learning rate that falls along half a cosine wave."""

import math

from torch.optim import Optimizer

from suexp.scheduler.base import WarmUp


class Cosine(WarmUp):
    r"""Linear warm-up over w steps, then half a cosine wave from the peak to a share r of it.

        $\eta_t / \eta = (t + 1) / (w + 1)$ for $t < w$, else
        $r + (1 - r) \frac12 \left(1 + \cos \pi \frac{t - w}{T - w}\right)$

    One number for each parameter group, whose own learning rate is the peak $\eta$. The rate r is
    reached after the last step, at t = T, and kept.

    References: Loshchilov & Hutter, SGDR, arXiv:1608.03983 (one cycle, no restart); the warm-up:
    Goyal et al., arXiv:1706.02677.

    Args:
        optimizer: its groups' learning rates are the peaks.
        total_steps: T; the runner gives it.
        warmup: below 1 a share of total_steps, from 1 on a whole number of steps w.
        final_ratio: r; 0.1 as in GPT-3.

    Raises:
        ValueError: warmup negative, not whole, or longer than the run; final_ratio outside [0, 1];
            no steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        warmup: float | int = 0.1,
        final_ratio: float | int = 0.1,
    ) -> None:
        super().__init__(optimizer, total_steps, warmup, final_ratio)

    def curve(self, progress: float) -> float:
        """Return the wave's height."""
        return self.final_ratio + (1 - self.final_ratio) * (1 + math.cos(math.pi * progress)) / 2
