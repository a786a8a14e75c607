"""Checkpoints from which a run goes on as if it had never stopped."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint

from suexp.runner.loading import EpochSampler
from suexp.runner.recorder import NotFinite


class Position(Callback):
    """Keep the position in the epoch and all random states in the checkpoint.

    Lightning restores weights, optimizer and counters, but begins the epoch's data anew and leaves
    the random generators alone; a resumed run would differ from an uninterrupted one.
    """

    def __init__(self, sampler: EpochSampler) -> None:
        self.sampler = sampler
        self.batches_read = 0
        self._restored: dict[str, Any] | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Count the batches of the epoch."""
        self.batches_read = 0 if trainer.is_last_batch else self.batches_read + 1

    def state_dict(self) -> dict[str, Any]:
        """Return the position and the random states, as plain values."""
        version, keys, gauss = random.getstate()
        numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
        return {
            "batches_read": self.batches_read,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "python": [version, list(keys), gauss],
            "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Move the sampler; the random states wait for the first batch."""
        self.batches_read = self.sampler.start = state_dict["batches_read"]
        self._restored = state_dict

    def on_train_batch_start(self, *_: Any) -> None:
        """Set the random states as they were when the next batch was about to be computed."""
        if self._restored is None:
            return
        state, self._restored = self._restored, None
        torch.set_rng_state(state["torch"].cpu())
        if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
            torch.cuda.set_rng_state_all([item.cpu() for item in state["cuda"]])
        version, keys, gauss = state["python"]
        random.setstate((version, tuple(keys), gauss))
        numpy = state["numpy"]
        key = np.array(numpy["state"]["key"], dtype=np.uint32)
        np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})  # noqa: NPY002


class Interrupted(BaseException):
    """The run was asked to stop, and has stopped after a whole step with a checkpoint."""


class Checkpoints(Checkpoint):
    """Save ``checkpoints/step=N.ckpt`` every so many seconds, and when a run is asked to stop.

    A file is written whole or not at all; the last two stay, so that a damaged one costs little.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder / "checkpoints", seconds
        self.asked_to_stop = False
        self._saved_at = time.monotonic()

    @contextmanager
    def stop_on_signals(self) -> Iterator[None]:
        """Turn Ctrl-C and SIGTERM into a stop after the current step; a second stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, _: Any) -> None:
            self.asked_to_stop = True
            signal.signal(number, before[signal.Signals(number)])

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def save(self, trainer: pl.Trainer) -> Path:
        """Save now."""
        path = self.folder / f"step={trainer.global_step}.ckpt"
        temporary = path.with_suffix(".part")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(path)
            steps = sorted(int(p.stem.removeprefix("step=")) for p in self.folder.glob("*.ckpt"))
            for step in steps[:-2]:
                (self.folder / f"step={step}.ckpt").unlink()
        self._saved_at = time.monotonic()
        return path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save when it is time; several processes agree on it every tenth step."""
        due = self.asked_to_stop or time.monotonic() - self._saved_at >= self.seconds
        if trainer.world_size > 1:
            if trainer.global_step % 10:
                return
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        if due and trainer.global_step > 0:
            self.save(trainer)
        if self.asked_to_stop:
            raise Interrupted

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the finished weights: other runs may start from them."""
        del pl_module
        self.save(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Name the last good checkpoint of a run whose loss is no number."""
        del trainer, pl_module
        if isinstance(exception, NotFinite):
            last = max(self.folder.glob("*.ckpt"), key=lambda p: p.stat().st_mtime, default=None)
            exception.add_checkpoint(last)
