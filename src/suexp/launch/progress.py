"""What is seen while a run trains."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from torch import Tensor

REFRESH_SECONDS = 0.2
PLAIN_SECONDS = 10.0


class Progress(ProgressBar):
    """A bar with loss, tokens per second and time left; where output is piped, a line now and then.

    Reads metrics that the recorder has logged, so it never waits for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(stderr=True)
        self._bar: RichProgress | None = None
        self._task: Any = None
        self._drawn_at = 0.0
        self._elements, self._steps, self._since = 0, 0, 0.0
        self._enabled = True

    def enable(self) -> None:
        """Show."""
        self._enabled = True

    def disable(self) -> None:
        """Hide, as every process but the first does."""
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put up the bar."""
        del pl_module
        self._since = self._drawn_at = time.perf_counter()
        if not self._enabled or not self.console.is_terminal:
            return
        self._bar = RichProgress(
            TextColumn("training"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            auto_refresh=False,
        )
        self._task = self._bar.add_task(
            "", total=self._total(trainer), completed=trainer.global_step, facts=""
        )
        self._bar.start()

    @staticmethod
    def _total(trainer: pl.Trainer) -> int | None:
        steps = trainer.estimated_stepping_batches
        return int(steps) if steps != float("inf") else None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Count; redraw a few times a second."""
        del pl_module, outputs, batch_idx
        self._elements += next(iter(batch.values())).numel()
        self._steps += 1
        now = time.perf_counter()
        pause = REFRESH_SECONDS if self._bar is not None else PLAIN_SECONDS
        if not self._enabled or now - self._drawn_at < pause:
            return
        self._drawn_at = now
        facts = self._facts(trainer, now)
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.global_step, facts=facts)
            self._bar.refresh()
        elif not self.console.is_terminal:
            left = ""
            total = self._total(trainer)
            if total:
                seconds = (now - self._since) / self._steps * (total - trainer.global_step)
                left = f", {seconds:.0f} s left"
            step = f"step {trainer.global_step}" + (f"/{total}" if total else "")
            self.console.print(f"{step}: {facts}{left}", highlight=False)

    def _facts(self, trainer: pl.Trainer, now: float) -> str:
        speed = self._elements / (now - self._since)
        facts = [f"{speed:,.0f} tokens/s"]
        for name in ("val/loss", "train/loss"):
            if name in trainer.callback_metrics:
                facts.insert(0, f"{name} {float(trainer.callback_metrics[name]):.3f}")
        return ", ".join(facts)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar down."""
        del trainer, pl_module
        self._close()

    def on_exception(self, *_: Any) -> None:
        """Take the bar down, too."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        del kwargs
        self.console.print(*args)
