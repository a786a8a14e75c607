"""Checkpoints from which a run goes on as if it had never stopped."""

import functools
import io
import pickle
import random
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, Checkpoint

from suexp.errors import UserError, writing
from suexp.interruption import STOPS, handling
from suexp.job.batches import EpochSampler
from suexp.job.recorder import NotFinite
from suexp.store.folder import checkpoints_in, write_atomic, write_whole
from suexp.task.recorded import Recorded
from suexp.tensors import MORE_THAN_WEIGHTS, first_with, is_archive

TOGETHER = 1.0  # seconds within which signals are one request


class Position(Callback):
    """Keep the position in the epoch and all random states in the checkpoint.

    Lightning restores weights, optimizer and counters, but begins the epoch's data anew and leaves
    the random generators alone; a resumed run would differ from an uninterrupted one. Before a run
    of several processes it seeds them once more; what one process draws would be other numbers.
    """

    def __init__(self, sampler: EpochSampler) -> None:
        self.sampler = sampler
        self.epochs_read, self.batches_read = 0, 0  # batches of the epoch after these
        self._restored: dict[str, Any] | None = self.state_dict()

    def on_train_epoch_start(self, *_: Any) -> None:
        """Tell the sampler which epoch it is: as many as were read to their ends.

        Lightning counts one more where a training ended within one, and enters an epoch anew that
        was read to its end; it tells no batch sampler of its own.
        """
        self.sampler.set_epoch(self.epochs_read)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Count the batches of the epoch."""
        self.batches_read += 1
        if trainer.is_last_batch:
            self.epochs_read, self.batches_read = self.epochs_read + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the position and the random states, as plain values."""
        version, keys, gauss = random.getstate()
        numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
        return {
            "epochs_read": self.epochs_read,
            "batches_read": self.batches_read,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "python": [version, list(keys), gauss],
            "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Move the sampler; the random states wait for the start of training."""
        self.epochs_read, self.batches_read = state_dict["epochs_read"], state_dict["batches_read"]
        self.sampler.set_epoch(self.epochs_read)  # in the middle of one no epoch starts
        self.sampler.start = self.batches_read
        self._restored = state_dict

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set the random states after all hooks of the start, before anything reads a batch.

        The strategy's hook is the one that comes last.
        """
        del pl_module
        if stage == "fit":
            trainer.strategy.on_train_start = self._restore  # type: ignore[method-assign]

    def on_fit_end(self, *_: Any) -> None:
        """Set them also where no batch was left: what comes after training may draw, too."""
        self._restore()

    def _restore(self) -> None:
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


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all; Lightning's own goes by way of /tmp."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write it in memory, then to disk."""
        del storage_options
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), buffer.getbuffer())


def damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint; torch itself looks at no checksum."""
    try:
        if not is_archive(path):
            return "it is cut short"
        with zipfile.ZipFile(path) as file:
            record = file.testzip()
        if record is not None:
            return f"the checksum of {record} does not match"
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
        if name := first_with(torch.isnan, state["state_dict"]):
            return f"{name} holds nan"
    except pickle.UnpicklingError:
        return f"it {MORE_THAN_WEIGHTS}"
    except Exception as error:  # a ZIP of something else, say; torch has many words for it
        return str(error).partition("\n")[0]
    return None


def is_over(trainer: pl.Trainer) -> bool:
    """Tell whether no training step follows this one, or this validation."""
    loop = trainer.fit_loop
    return (
        trainer.global_step == trainer.max_steps
        or (trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs)
        or (trainer.should_stop and loop._can_stop_early)
    )


class Checkpoints(Checkpoint):
    """Save ``checkpoints/step=N.ckpt`` every so many seconds, and when a run is asked to stop.

    A file is written whole or not at all; the last two stay, so that a damaged one costs little.
    They hold what the run has recorded so far, too: a resumed run's metrics.jsonl starts as it was
    then, whatever was half-written or lost since, and so do the task's tables and final metrics.

    What resumes from the last step trains no more, so no hook of training is called. The last
    step's checkpoint is therefore saved when all of them have measured what they do at the end.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder / "checkpoints", seconds
        self.metrics = folder / "metrics.jsonl"
        self._after_validation = False
        self._over = False
        self._stops = False
        self.asked_to_stop = False
        self._saved_at = time.monotonic()

    @contextmanager
    def stop_on_signals(self) -> Iterator[None]:
        """Turn what asks to stop into a stop after the current step; to ask again stops at once.

        One request may come twice, from a terminal or Slurm and from the process that leads.
        """
        first = float("inf")

        def ask(*_: Any) -> None:
            nonlocal first
            now = time.monotonic()
            if now - first > TOGETHER:
                raise Interrupted
            first = min(first, now)
            self.asked_to_stop = True

        with handling(STOPS, ask):
            yield

    def save(self, trainer: pl.Trainer) -> Path:
        """Save now."""
        path = self.folder / f"step={trainer.global_step}.ckpt"
        if trainer.is_global_zero:
            with writing(path):
                self.folder.mkdir(exist_ok=True)
        trainer.strategy.checkpoint_io = WholeFiles()
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            for old in checkpoints_in(self.folder)[2:]:
                old.unlink()
        self._saved_at = time.monotonic()
        return path

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put what was recorded so far into the checkpoint.

        Raises:
            UserError: a callback keeps what no checkpoint takes.
        """
        assert isinstance(pl_module, Recorded)
        lines = self.metrics.read_text(encoding="utf-8") if self.metrics.exists() else ""
        checkpoint["metrics"] = lines
        checkpoint["recorded"] = pl_module.recorded()
        checkpoint["stopped_early"] = self._over and trainer.should_stop
        for name, state in checkpoint["callbacks"].items():
            _refuse_objects(name, state)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with that."""
        assert isinstance(pl_module, Recorded)
        if trainer.is_global_zero:
            write_atomic(self.metrics, checkpoint["metrics"])
        pl_module.restore(checkpoint["recorded"])
        trainer.should_stop = checkpoint["stopped_early"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let the strategy's hook, which comes after all others, save the finished weights.

        Lightning's own answer to SIGTERM ends a run without a checkpoint, so it is left out.
        """
        del pl_module
        trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
        if stage == "fit":
            end = functools.partial(self._end, trainer)
            trainer.strategy.on_train_end = end  # type: ignore[method-assign]

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save when it is time; several processes agree every tenth step on that, and on the end.

        Where a validation follows, what resumes from here would skip it: that one is waited for.
        """
        if is_over(trainer):
            return
        stops, due = self.asked_to_stop, self.due(trainer)
        if trainer.world_size > 1:
            if trainer.global_step % 10:
                return
            stops, due = (
                trainer.strategy.reduce_boolean_decision(own, all=False) for own in (stops, due)
            )
        if not (stops or due):
            return
        self._stops = stops
        loop = trainer.fit_loop
        data = loop._data_fetcher
        if data is not None and loop.epoch_loop._should_check_val_fx(data):
            self._after_validation = True
        else:
            self._save_and_stop(trainer)

    def due(self, trainer: pl.Trainer) -> bool:
        """Tell whether it is time."""
        del trainer
        return time.monotonic() - self._saved_at >= self.seconds

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what had to wait."""
        del pl_module
        if self._after_validation:
            self._after_validation = False
            if not is_over(trainer):  # an early stop is decided here
                self._save_and_stop(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop an evaluation that follows the training, of which all is saved."""
        if self.asked_to_stop and trainer.state.fn != "fit" and trainer.world_size == 1:
            raise Interrupted

    def on_test_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop it there, too."""
        self.on_validation_batch_end(trainer)

    def _save_and_stop(self, trainer: pl.Trainer) -> None:
        if trainer.global_step > 0:
            self.save(trainer)
        if self._stops:
            raise Interrupted

    def _end(self, trainer: pl.Trainer) -> None:
        """Save the finished weights: other runs may start from them."""
        self._over = True
        self.save(trainer)
        if trainer.strategy.reduce_boolean_decision(self.asked_to_stop, all=False):
            raise Interrupted

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Name the last good checkpoint of a run whose loss is no number."""
        del trainer, pl_module
        if isinstance(exception, NotFinite):
            exception.add_checkpoint(next(iter(checkpoints_in(self.folder)), None))


def _nothing() -> None:
    """Register no handlers."""


def _refuse_objects(name: str, state: dict[str, Any]) -> None:
    """Refuse a callback's state that cannot be loaded again, which is loaded as plain values."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except (pickle.PickleError, AttributeError, TypeError) as error:
        raise UserError(
            f"callback {name}: its state_dict holds more than numbers, strings, tensors, and lists "
            "and dictionaries of them, so no run could go on from it"
        ) from error
