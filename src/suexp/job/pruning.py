"""How a run that is a trial of a study reports to it, and is pruned by it."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from suexp.job.checkpoint import Checkpoints, is_over
from suexp.job.trial import Trial
from suexp.store.folder import Run


class Pruned(BaseException):
    """The study has no hope for the run, which has stopped after a whole step with a checkpoint."""


class Pruning(Callback):
    """Report each validation to the study, and stop the run where the study says so.

    What a run had measured before it was killed, it reports from its history. Trouble with the
    storage is said once and stops nothing. The first of several processes decides for all.

    Args:
        run: the run; its ``study`` names the study and the trial.
        checkpoints: what saves the run when it is pruned.
        note: says something.
    """

    def __init__(self, run: Run, checkpoints: Checkpoints, note: Callable[[str], None]) -> None:
        self.run, self.checkpoints, self.note = run, checkpoints, note
        self.place = run.config["study"]
        self._trial: Trial | None = None
        self._pruned_at: int | None = None
        self._troubled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report what a run that goes on has measured before."""
        del pl_module
        if trainer.global_step > 0:
            self._decide(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the validation."""
        del pl_module
        if trainer.state.fn == "fit":
            self._decide(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop with a checkpoint after the next step; after the last, the run may as well end."""
        if self._pruned_at is None or is_over(trainer):
            return
        if trainer.global_step > self._pruned_at:
            self.checkpoints.save(trainer)
            where = f"trial {self.place['trial']} of the study {self.place['name']}"
            raise Pruned(f"{where}, after the validation at step {self._pruned_at}")

    def _decide(self, trainer: pl.Trainer) -> None:
        ours = trainer.is_global_zero and self._asked()
        if trainer.strategy.broadcast(ours):
            self._pruned_at = trainer.global_step

    def _asked(self) -> bool:
        try:
            if self._trial is None:
                self._trial = Trial.load(**self.place)
            self._trial.report(self.run)
            return self._trial.should_prune()
        except Exception as error:  # the storage's, of whatever kind it is
            if not self._troubled:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                self.note(f"run {self.run.id} cannot reach its study, and goes on: {reason}")
            self._troubled = True
            return False
