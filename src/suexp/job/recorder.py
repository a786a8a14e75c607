"""What every run writes down while it trains."""

import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.errors import UserError
from suexp.job.divergence import Diverged, all_finite
from suexp.normalizer.base import at_least_float32

NEVER = 2**62  # a step that no run reaches


class NotFinite(UserError):
    """The loss is NaN or infinite."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(
            f"the loss is {value} at step {step}; try a lower optimizer.lr, a longer "
            "scheduler.warmup or trainer.gradient_clip_val=1; trainer.on_divergence=record takes "
            "it for a result"
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

    A run whose divergence is a result (trainer.on_divergence=record) ends with `Diverged` instead,
    in all processes at once, also where a weight is no number before a validation or at the end, or
    the loss of a validation or test is none.

    Args:
        every: steps between two lines.
        records: whether a divergence is a result.

    Attributes:
        train_seconds: time in training so far, over all parts of a run that was resumed, without
            evaluation; the device has done what was asked of it.
    """

    def __init__(self, every: int, records: bool = False) -> None:
        self.every, self.records = every, records
        self.first_step_at: float | None = None
        self._totals: dict[str, Tensor] = {}
        self._count = 0
        self._tokens = 0
        self._since = 0.0
        self._earlier = 0.0
        self._resumed_at: float | None = None
        self._names = ["loss"]
        self._bad_at: Tensor | None = None  # the first step whose loss was no number

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
        """Stop the clock; weights that are no numbers are not looked at."""
        self._pause()
        if trainer.state.fn == "fit":
            self._look_at_weights(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restart the training clock."""
        del pl_module
        self._look_at_figure(trainer, "val/loss")
        if trainer.state.fn == "fit":
            self._resumed_at = time.perf_counter()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at what was found."""
        del pl_module
        self._look_at_figure(trainer, "test/loss")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the training clock for good."""
        self._pause()
        self._look_at_weights(trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Stop it here, too."""
        del trainer, pl_module, exception
        self._pause()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last line, so that a resumed run writes the same means."""
        return {
            "totals": self._totals,
            "count": self._count,
            "train_seconds": self.train_seconds,
            "bad_at": self._bad_at,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with those sums."""
        self._totals, self._count = state_dict["totals"], state_dict["count"]
        self._earlier, self._bad_at = state_dict["train_seconds"], state_dict["bad_at"]

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
        if self.records:
            self._remember(step, values)
        if values["loss"].device.type == "cpu" or due:
            if self.records:
                self._look_at_losses(trainer)
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

    def _remember(self, step: int, values: dict[str, Tensor]) -> None:
        """Note the first step at which a value is no number, where it lies."""
        self._names = [*values]
        fine = torch.stack([value.isfinite().all() for value in values.values()]).all()
        before = torch.tensor(NEVER) if self._bad_at is None else self._bad_at
        before = before.to(fine.device)
        self._bad_at = before.where(fine, before.clamp(max=step))

    def _look_at_losses(self, trainer: pl.Trainer) -> None:
        if self._bad_at is None:
            return
        first = self._bad_at.clone()
        if trainer.world_size > 1:
            first = trainer.strategy.reduce(first, reduce_op="min")
        if first < NEVER:
            raise self.diverged(trainer, int(first))

    def _look_at_weights(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.records:
            return
        self._look_at_losses(trainer)
        if trainer.strategy.reduce_boolean_decision(not all_finite(pl_module), all=False):
            raise self.diverged(trainer, trainer.global_step)

    def _look_at_figure(self, trainer: pl.Trainer, name: str) -> None:
        value = trainer.callback_metrics.get(name)
        if self.records and value is not None and not torch.isfinite(value):
            raise self.diverged(trainer, trainer.global_step)

    def diverged(self, trainer: pl.Trainer, step: int) -> Diverged:
        """Return what ends a run that diverged at a step."""
        total = trainer.max_steps if trainer.max_steps >= 0 else trainer.estimated_stepping_batches
        return Diverged(step, max(step, int(total)) if math.isfinite(total) else step, self._names)
