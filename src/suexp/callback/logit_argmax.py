"""What a classifier would choose if it went by its largest score."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class LogitArgmax(Callback, Component):
    r"""Share of rows for which the largest logit is right, beside the most probable class.

    With softmax both are one. A Taylor polynomial grows on its negative side, too
    (https://kexue.fm/archives/7919), and there $\arg\max_c z_c$ is not $\arg\max_c p_c$.
    Logits have the shape (b, classes), labels (b,). Metrics of the validation and test splits:

    - ``val/accuracy_by_logit``: share of rows whose largest logit is the label's;
    - ``val/negative_share``: share of rows whose most probable class has a logit below 0.

    Reference: Banerjee et al., Exploring Alternatives to Softmax Function, arXiv:2011.11538.

    Raises:
        UserError: the task does not choose one class for a row.
    """

    def __init__(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)  # rows, right, negative
        self._logits: Any = None
        self._hook: Any = None

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew, and look at what the model returns."""
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
        label, z = batch.get("label"), self._logits
        fits = isinstance(z, Tensor) and z.ndim == 2
        if label is None or not fits or label.shape != z.shape[:1]:
            raise UserError(
                "callback LogitArgmax looks at one class a row; use task=classification"
            )
        chosen = z.gather(1, pl_module.normalizer.best(z)[:, None])
        counts = [torch.ones_like(label), z.argmax(-1) == label, chosen < 0]
        self._sums += torch.stack([count.double().sum() for count in counts]).cpu()

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the shares."""
        self._finish("val", trainer, pl_module)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
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
        """Log the shares."""
        self._finish("test", trainer, pl_module)

    def _finish(self, split: str, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        self._hook.remove()
        sums = self._sums
        if trainer.world_size > 1:
            sums = sums.to(pl_module.device, torch.float32)
            torch.distributed.all_reduce(sums)
        rows, right, negative = sums.tolist()
        names = {"accuracy_by_logit": right, "negative_share": negative}
        pl_module.report({f"{split}/{name}": count / max(rows, 1) for name, count in names.items()})
