"""How large an optimizer's steps are, in units of its learning rate."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import at_least, between
from suexp.task.base import Task


class UpdateSize(Callback, Component):
    r"""$u = (\theta_{t-1} - \theta_t)/\eta_t - \lambda\theta_{t-1}$ at chosen steps.

    Weight decay is taken out, so Lion and signSGD give 1 and AdamW typically 0.1 to 0.3: the reason
    why their learning rates differ (https://kexue.fm/archives/9473, arXiv:2302.06675).

    Logged: ``train/update_rms`` over all matrices; table ``update`` with rows (size, share).

    Args:
        every: steps from one measurement to the next.
        bins: bins of the histogram of $|u|$ over [0, ``limit``].
        limit: the histogram's upper end.
    """

    needs: ClassVar[dict[str, str]] = {
        "optimizer": "it measures the optimizer's steps, and there are none here; leave it out"
    }

    def __init__(self, every: int = 50, bins: int = 40, limit: float = 2.0) -> None:
        at_least(1, every=every, bins=bins)
        between("(0, inf)", limit=limit)
        self.every, self.bins, self.limit = every, bins, limit
        self._before: list[tuple[Tensor, Tensor, float, float]] = []
        self._shares: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the last histogram."""
        return {"shares": list(self._shares)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it."""
        self._shares = list(state_dict["shares"])

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Keep the weights of a measured step."""
        del pl_module
        if (trainer.global_step + 1) % self.every == 0:
            self._before = [
                (p, p.detach().clone(), group["lr"], group.get("weight_decay", 0.0))
                for group in optimizer.param_groups
                for p in group["params"]
                if p.dim() > 1 and p.grad is not None
            ]

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Compare with the weights after it."""
        if not self._before:
            return
        before, self._before = self._before, []
        if any(lr == 0 for _, _, lr, _ in before):
            return
        updates = [((old - p) / lr - decay * old).flatten() for p, old, lr, decay in before]
        sizes = torch.cat(updates).abs()
        rms = float(sizes.square().mean().sqrt())
        for logger in trainer.loggers:
            logger.log_metrics({"train/update_rms": rms}, trainer.global_step)
        counts = torch.histc(sizes.clamp(max=self.limit), self.bins, 0.0, self.limit)
        self._shares = (counts / len(sizes)).tolist()
        del pl_module

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the last histogram."""
        del trainer
        assert isinstance(pl_module, Task)
        width = self.limit / self.bins
        rows = [{"size": (i + 0.5) * width, "share": x} for i, x in enumerate(self._shares)]
        if rows:
            pl_module.record_rows("update", rows)
