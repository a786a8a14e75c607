"""What a model has forgotten: the same loss on another data set."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.data.base import Data
from suexp.errors import UserError, at_least
from suexp.task.base import Task


class OtherLoss(Callback, Component):
    r"""``val/other_loss``: $\frac1N \sum_k n_k L_k$ over batches of another data set.

    $L_k$ is the task's own objective of a batch, the mean of $n_k$ terms, tokens (b, n) say, in
    evaluation mode. Measured at the end of training on the validation split; on the data that the
    parent was trained on, its rise is what was forgotten.

    References: https://kexue.fm/archives/9590 asks for it; Kirkpatrick et al., Overcoming
    catastrophic forgetting in neural networks, arXiv:1612.00796.

    Args:
        data: rows of the task's kind, with the tokens that the model was trained on.
        batches: the most batches that are read.

    Raises:
        ValueError: no batches.
        UserError: rows of other sizes than the model's, other tokens say.
    """

    needs: ClassVar[dict[str, str]] = {
        "data.text": "it reads texts; name data, suexp.data.pydoc.PyDoc say",
        "text": "it measures the task's loss on other texts; use data=pydoc",
        "optimizer": "it measures what training has changed, and there is none here",
    }
    longest: ClassVar[str] = "data.block_size"

    def __init__(self, data: Data, batches: int = 20) -> None:
        at_least(1, batches=batches)
        self.data, self.batches = data, batches

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        assert isinstance(pl_module, Task)
        theirs, ours = self.data.sizes, pl_module.data.sizes
        if theirs != ours:
            raise UserError(
                f"callback=other_loss: its data have {theirs}, the model's {ours}; choose one "
                "tokenizer for both, tokenizer=bytes say"
            )

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        rows = self.data.splits()["validation"]
        size = self.data.eval_batch_size
        starts = range(0, len(rows), size)[: self.batches]
        plugin: Any = trainer.precision_plugin
        total = torch.zeros(2, dtype=torch.float64)
        with plugin.val_step_context():
            for start in starts:
                numbers = list(range(start, min(start + size, len(rows))))
                batch = task.received(self.data.collate(rows.__getitems__(numbers)))
                terms = torch.as_tensor(task.terms(batch)).double().cpu()
                loss = task.objective(batch).double().cpu()
                total += torch.stack((terms * loss, terms))
        task.final["val/other_loss"] = float(total[0] / total[1].clamp(min=1))
