"""A constant learning rate."""

from torch.optim import Optimizer

from suexp.scheduler.base import WarmUp


class Constant(WarmUp):
    r"""Linear warm-up over w steps, then constant.

        $\eta_t / \eta = (t + 1) / (w + 1)$ for $t < w$, else 1

    One number for each parameter group, whose own learning rate is the peak $\eta$.

    Reference for the warm-up: Goyal et al., Accurate, Large Minibatch SGD, arXiv:1706.02677.

    Args:
        optimizer: its groups' learning rates are the peaks.
        total_steps: T; the runner gives it.
        warmup: below 1 a share of total_steps, from 1 on a whole number of steps w.

    Raises:
        ValueError: warmup negative, not whole, or longer than the run; no steps.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float | int = 0.0) -> None:
        super().__init__(optimizer, total_steps, warmup)

    def curve(self, progress: float) -> float:
        """Return 1."""
        del progress
        return 1.0
