"""What a model loses by reading something else than what stands there."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._classifier import of_all
from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class ReadingLoss(Callback, Component):
    """Sums targets' losses over the last validation: of what is there, and of changed readings.

    Attributes:
        does: what the changes do, for one who has no targets.
    """

    does: ClassVar[str]

    def __init__(self, changes: int) -> None:
        self._sums = torch.zeros(1 + changes, 2, dtype=torch.float64)

    def inputs(self, task: Any, batch: dict[str, Tensor], number: int) -> Iterator[Tensor]:
        """Give what the model reads by each change, (b, n), of the batch of this number."""
        raise NotImplementedError

    def write(self, task: Task, plain: float, changed: list[float]) -> None:
        """Write down the mean losses, without a change and by each."""
        raise NotImplementedError

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the sums of losses and tokens to 0."""
        del trainer, pl_module
        self._sums.zero_()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch of the last validation."""
        del outputs, dataloader_idx
        if is_last(trainer):
            assert isinstance(pl_module, Task)
            self._sums += self.measured(pl_module, batch, batch_idx).cpu()

    def measured(self, task: Any, batch: dict[str, Tensor], number: int) -> Tensor:
        """Return the sums of losses and the numbers of tokens: without a change, and by each.

        Raises:
            UserError: the task has no sources and targets.
        """
        if "prefix_length" not in batch:
            raise UserError(f"{self.does}; use task=seq2seq")
        readings = self.inputs(task, batch, number)
        changed = [_loss(task, {**batch, "inputs": inputs}) for inputs in readings]
        return torch.stack([_loss(task, batch), *changed])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down the means."""
        if not is_last(trainer):
            return
        assert isinstance(pl_module, Task)
        sums = of_all(self._sums, trainer, pl_module)
        plain, *changed = (sums[:, 0] / sums[:, 1].clamp(min=1)).tolist()
        self.write(pl_module, plain, changed)


def _loss(task: Any, batch: dict[str, Tensor]) -> Tensor:
    logits, target = task.predict(batch, "target")
    loss = task.normalizer.cross_entropy(logits, target).double()
    return torch.stack([loss, torch.tensor(len(target)).to(loss)])
