"""What an optimizer says of itself."""

from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from suexp.component import Component
from suexp.errors import UserError, at_least
from suexp.task.base import Task


class OptimizerDiagnostics(Callback, Component):
    r"""The figures of an optimizer's ``diagnostics()``, such as gains $\nu$ and numbers of updates.

    Each is one number, whatever the parameters' shapes. Logged: ``train/{name}`` for each; final:
    what they are at the end. Of gains see https://kexue.fm/archives/8968 and Amid et al.,
    arXiv:2202.00145; the numbers of updates count what is left of the steps where gradients are
    accumulated in the optimizer.

    Args:
        every: steps from one line to the next.

    Raises:
        ValueError: every below 1.
        UserError: the optimizer has nothing to say.
    """

    needs: ClassVar[dict[str, str]] = {
        "diagnostics": "it asks the optimizer for its figures, and this one has none; use "
        "optimizer=sgdm or optimizer=egdd, say, or leave it out"
    }

    def __init__(self, every: int = 10) -> None:
        at_least(1, every=every)
        self.every = every

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse an optimizer that has none."""
        del pl_module
        if not hasattr(trainer.optimizers[0], "diagnostics"):
            raise UserError("callback=optimizer_diagnostics: the optimizer has none; leave it out")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Write them down when it is time, and those of the end."""
        last = trainer.global_step == trainer.max_steps
        if trainer.global_step % self.every and not last:
            return
        optimizer: Any = trainer.optimizers[0]
        metrics = {f"train/{name}": value for name, value in optimizer.diagnostics().items()}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, trainer.global_step)
        if last:
            assert isinstance(pl_module, Task)
            pl_module.final |= metrics
