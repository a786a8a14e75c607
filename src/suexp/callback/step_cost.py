"""What a training step costs: memory that waits for the backward pass, forward passes, time."""

import statistics
import time
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.component import Component
from suexp.errors import at_least
from suexp.method._chunked import rows_of
from suexp.nn.saved import SavedBytes
from suexp.task.base import Task


class StepCost(Callback, Component):
    r"""$\max_t \sum_{x \text{ kept at } t} \mathrm{bytes}(x)$ in a step; forward passes; seconds.

    Logged at measured steps: ``train/activation_bytes``, the most bytes that graphs held at one
    time t in forward and backward pass, parameters and batch left out (see `suexp.nn.saved`), and
    ``train/forward_rows``, the rows that passed through the model for each row of the batch, of
    shape (b, n), say: with two texts a row 2, and twice that where a method passes each text twice.
    Final: the largest and the mean of these, and ``train/seconds_per_step``, the median over the
    other steps, the optimizer's part included. https://kexue.fm/archives/8471 and arXiv:2101.06983.

    Args:
        every: steps from one measurement to the next.
    """

    needs: ClassVar[dict[str, str]] = {
        "optimizer": "it measures training steps, and there are none here; leave it out"
    }

    def __init__(self, every: int = 50) -> None:
        at_least(1, every=every)
        self.every = every
        self._meter: SavedBytes | None = None
        self._hook: Any = None
        self._rows = 0
        self._noted = (0, 0)
        self._peaks: list[int] = []
        self._passes: list[float] = []
        self._seconds: list[float] = []
        self._start = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured so far."""
        return {"peaks": self._peaks, "passes": self._passes, "seconds": self._seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what was measured before the interruption."""
        self._peaks, self._passes = list(state_dict["peaks"]), list(state_dict["passes"])
        self._seconds = list(state_dict["seconds"])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin to measure, or start the clock."""
        del batch_idx
        assert isinstance(pl_module, Task)
        if (trainer.global_step + 1) % self.every == 0:
            known = [*pl_module.parameters(), *pl_module.buffers(), *batch.values()]
            self._rows = 0

            def count(_: Any, args: tuple[Any, ...]) -> None:
                self._rows += len(args[0])

            self._hook = pl_module.model.register_forward_pre_hook(count)
            self._meter = SavedBytes(known)
            self._meter.__enter__()
        self._start = time.perf_counter()

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note it; of several batches that make a step the last counts for all."""
        del trainer, pl_module
        if self._meter is not None:
            self._noted = self._meter.peak, self._rows

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Stop measuring; what other callbacks do from here on is not the step's."""
        del trainer, pl_module, optimizer
        if self._meter is not None:
            self._meter.__exit__(None, None, None)
            self._hook.remove()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write down what was measured, or the time."""
        del pl_module, outputs, batch_idx
        if self._meter is None:
            self._seconds.append(time.perf_counter() - self._start)
            return
        peak, rows = self._noted
        passes = rows / rows_of(batch)
        self._meter, self._noted = None, (0, 0)
        self._peaks.append(peak)
        self._passes.append(passes)
        for logger in trainer.loggers:
            metrics = {"train/activation_bytes": float(peak), "train/forward_rows": passes}
            logger.log_metrics(metrics, trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the largest and mean costs as final metrics."""
        del trainer
        assert isinstance(pl_module, Task)
        if self._peaks:
            pl_module.final["train/activation_bytes"] = float(max(self._peaks))
            pl_module.final["train/forward_rows"] = statistics.fmean(self._passes)
        if self._seconds:
            pl_module.final["train/seconds_per_step"] = statistics.median(self._seconds)
