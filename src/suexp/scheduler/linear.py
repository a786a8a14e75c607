"""A learning rate that falls along a line."""

from torch.optim import Optimizer

from suexp.scheduler.base import WarmUp


class Linear(WarmUp):
    r"""Linear warm-up over w steps, then a line from the peak to a share r of it.

        $\eta_t / \eta = (t + 1) / (w + 1)$ for $t < w$, else $1 - (1 - r) \frac{t - w}{T - w}$

    One number for each parameter group, whose own learning rate is the peak $\eta$. The rate r is
    reached after the last step, at t = T, and kept.

    References: as in BERT, Devlin et al., arXiv:1810.04805; the warm-up: Goyal et al.,
    arXiv:1706.02677.

    Args:
        optimizer: its groups' learning rates are the peaks.
        total_steps: T; the runner gives it.
        warmup: below 1 a share of total_steps, from 1 on a whole number of steps w.
        final_ratio: r.

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
        """Return the line's height."""
        return 1 - (1 - self.final_ratio) * progress
