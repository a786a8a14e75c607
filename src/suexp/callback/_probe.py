"""Gradients of a training step's batch at other weights, of which the run notices nothing."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.nn.passes import RandomState, as_if_nothing_happened
from suexp.task.base import Task


class StepProbe(Callback):
    """Keeps a step's batch and the random state in which it begins."""

    def __init__(self) -> None:
        self._batch: dict[str, Tensor] = {}
        self._random: RandomState | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep both."""
        del trainer, pl_module, batch_idx
        self._batch, self._random = batch, RandomState(batch)

    def gradient(
        self, trainer: pl.Trainer, task: Task, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the step's loss and gradient at the weights as they are now.

        With the step's own draws, over all processes; the methods' share included.

        Raises:
            Skip: a method leaves this step out.
        """
        assert self._random is not None
        plugin: Any = trainer.precision_plugin
        with as_if_nothing_happened(task, self._batch), torch.enable_grad():
            self._random.restore()
            with plugin.train_step_context():
                loss = task.wrapped_objective()(task.asked(self._batch))
            found: list[Tensor | None] = list(
                torch.autograd.grad(loss, parameters, allow_unused=True)
            )
        loss = loss.detach()
        if trainer.world_size > 1:
            reduce = trainer.strategy.reduce
            loss = reduce(loss, reduce_op="mean")
            found = [g if g is None else reduce(g, reduce_op="mean") for g in found]
        return loss, found
