"""What the callbacks share that look at a classifier's logits, batch after batch."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class ClassifierSums(Callback, Component):
    """Sums over the rows of a validation or test split.

    Attributes:
        label: the entry of a batch that predictions are compared with.

    Args:
        shape: that of the sums, in float64.

    Raises:
        UserError: the task does not choose one class for a row.
    """

    label: ClassVar[str] = "label"
    needs: ClassVar[dict[str, str]] = {
        "classes": "it looks at one class a row; use task=classification"
    }

    def __init__(self, *shape: int) -> None:
        self._sums = torch.zeros(shape, dtype=torch.float64)
        self._logits: Any = None
        self._hook: Any = None

    def add(
        self, sums: Tensor, logits: Float[Tensor, "b c"], label: Int[Tensor, " b"], task: Task
    ) -> None:
        """Add a batch to the sums, in place."""
        raise NotImplementedError

    def finish(self, split: str, sums: Tensor, task: Task) -> None:
        """Report what a split's sums, those of all processes, come to."""
        raise NotImplementedError

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the sums to 0 and hook the model, to see its logits."""
        del trainer
        assert isinstance(pl_module, Task)
        self._sums.zero_()

        def look(module: Any, inputs: Any, output: Any) -> None:
            del module, inputs
            self._logits = output

        self._hook = pl_module.model.register_forward_hook(look)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch."""
        del trainer, outputs, batch_idx, dataloader_idx
        assert isinstance(pl_module, Task)
        label, logits = batch.get(self.label), self._logits
        fits = isinstance(logits, Tensor) and logits.ndim == 2
        if label is None or not fits or label.shape != logits.shape[:1]:
            raise UserError(
                f"callback {type(self).__name__} looks at one class a row; use task=classification"
            )
        self.add(self._sums, logits, label, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the validation split's sums."""
        self._end("val", trainer, pl_module)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the sums to 0 and hook the model."""
        self.on_validation_epoch_start(trainer, pl_module)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch."""
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report."""
        self._end("test", trainer, pl_module)

    def _end(self, split: str, trainer: pl.Trainer, task: Any) -> None:
        self._hook.remove()
        self.finish(split, of_all(self._sums, trainer, task), task)


def of_all(sums: Tensor, trainer: pl.Trainer, task: Task) -> Tensor:
    """Return the sums over all processes, on the CPU."""
    if trainer.world_size > 1:
        wide = torch.float32 if task.device.type == "mps" else torch.float64
        sums = sums.to(task.device, wide)
        torch.distributed.all_reduce(sums)
    return sums.cpu()
