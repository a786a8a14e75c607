"""What every run writes down while it trains."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.errors import UserError
from suexp.normalizer.base import at_least_float32


class NotFinite(UserError):
    """The loss is NaN or infinite."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(
            f"the loss is {value} at step {step}; try a lower optimizer.lr, a longer "
            "scheduler.warmup or trainer.gradient_clip_val=1"
        )

    def add_checkpoint(self, path: Path | None) -> None:
        """Name the last good checkpoint."""
        where = path if path is not None else "none was due yet"
        self.args = (f"{self.args[0]} (last good checkpoint: {where})",)


class Recorder(Callback):
    """Log ``train/loss`` (mean since the last line), ``train/lr`` and the speed; stop at NaN.

    What else a training step returns in its dictionary, scalars by name, is treated as its loss is.
    On a CPU they are looked at after every step; elsewhere, where a look waits for the device, at
    every logged step.

    Attributes:
        train_seconds: time in training so far, over all parts of a run that was resumed, without
            evaluation; the device has done what was asked of it.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.first_step_at: float | None = None
        self._totals: dict[str, Tensor] = {}
        self._count = 0
        self._tokens = 0
        self._since = 0.0
        self._earlier = 0.0
        self._resumed_at: float | None = None

    @property
    def train_seconds(self) -> float:
        """Time in training so far."""
        running = 0.0 if self._resumed_at is None else time.perf_counter() - self._resumed_at
        return self._earlier + running

    def _pause(self) -> None:
        if torch.cuda.is_available() and self._resumed_at is not None:
            torch.cuda.synchronize()
        self._earlier, self._resumed_at = self.train_seconds, None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        del trainer, pl_module
        self._pause()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restart the training clock."""
        del pl_module
        if trainer.state.fn == "fit":
            self._resumed_at = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the training clock for good."""
        del trainer, pl_module
        self._pause()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last line, so that a resumed run writes the same means."""
        return {
            "totals": self._totals,
            "count": self._count,
            "train_seconds": self.train_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with those sums."""
        self._totals, self._count = state_dict["totals"], state_dict["count"]
        self._earlier = state_dict["train_seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self._since = self._resumed_at = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Add the step; write a line when it is time."""
        del batch_idx
        if self.first_step_at is None:
            self.first_step_at = time.time()
        if "loss" not in outputs:  # weights from a formula: nothing is descended
            return
        values = {name: at_least_float32(value.detach()) for name, value in outputs.items()}
        for name, value in values.items():
            before = self._totals.get(name)  # a restored one lies on the CPU
            self._totals[name] = value if before is None else value + before.to(value.device)
        self._count += 1
        self._tokens += next(iter(batch.values())).numel()
        step = trainer.global_step
        due = step % self.every == 0 or step == trainer.max_steps
        if values["loss"].device.type == "cpu" or due:
            for value in values.values():
                if not torch.isfinite(value):
                    raise NotFinite(step, float(value))
        if not due:
            return
        now = time.perf_counter()
        means = {name: sum_ / self._count for name, sum_ in self._totals.items()}
        if trainer.world_size > 1:  # each has seen its share of the batches
            means = {
                name: trainer.strategy.reduce(value.to(pl_module.device), reduce_op="mean")
                for name, value in means.items()
            }
        metrics = {
            **{f"train/{name}": float(value) for name, value in means.items()},
            "train/lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train/elements_per_second": self._tokens * trainer.world_size / (now - self._since),
        }
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step)
        trainer.callback_metrics["train/loss"] = torch.tensor(metrics["train/loss"])
        self._totals, self._count, self._tokens, self._since = {}, 0, 0, now
