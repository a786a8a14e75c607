"""Whether a classifier's probabilities are as good as they say."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class Calibration(Callback, Component):
    r"""At a validation: $\mathrm{val/calibration\_error} = \sum_k \frac{n_k}{N} |a_k - p_k|$.

    Predictions, by logits (b, classes) and labels (b,), fall into bins of their confidence, the
    largest probability: $n_k$ of them with mean confidence $p_k$, of which the share $a_k$ is
    right. The bins of the last validation are the rows of the table ``calibration``. Confidence
    below accuracy is under-confident, which the total covariance of
    https://kexue.fm/archives/8578 is.

    Reference: Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599.

    Args:
        bins: of equal width on [0, 1].

    Raises:
        ValueError: no bins.
        UserError: the task does not choose one class for a row.
    """

    def __init__(self, bins: int = 10) -> None:
        if bins < 1:
            raise ValueError(f"bins={bins}: at least 1")
        self.bins = bins
        self._sums = torch.zeros(3, bins, dtype=torch.float64)  # rows, confidence, right
        self._logits: Any = None
        self._hook: Any = None

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew, and look at what the model returns."""
        del trainer
        self._sums.zero_()

        def look(module: Any, inputs: Any, output: Any) -> None:
            del module, inputs
            self._logits = output

        self._hook = pl_module.model.register_forward_hook(look)  # type: ignore[union-attr]

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
        label = batch.get("label")
        fits = isinstance(self._logits, Tensor) and self._logits.ndim == 2
        if label is None or not fits or label.shape != self._logits.shape[:1]:
            raise UserError(
                "callback Calibration measures one class a row; use task=classification"
            )
        confidence, chosen = pl_module.normalizer.predict(self._logits).max(-1)
        place = (confidence * self.bins).long().clamp(max=self.bins - 1)
        for sums, values in zip(
            self._sums, (torch.ones_like(confidence), confidence, chosen == label), strict=True
        ):
            sums.index_add_(0, place.cpu(), values.double().cpu())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the bins and their error."""
        assert isinstance(pl_module, Task)
        self._hook.remove()
        sums = self._sums.to(pl_module.device if trainer.world_size > 1 else "cpu")
        if trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        rows, confidence, right = sums.cpu()
        pl_module.tables["calibration"] = []
        pl_module.record_rows(
            "calibration",
            [
                {
                    "confidence": float(confidence[k] / rows[k]),
                    "accuracy": float(right[k] / rows[k]),
                    "bin": round((k + 0.5) / self.bins, 6),
                    "rows": int(rows[k]),
                }
                for k in range(self.bins)
                if rows[k]
            ],
        )
        error = (right - confidence).abs().sum() / rows.sum().clamp(min=1)
        pl_module.final["val/calibration_error"] = float(error)
