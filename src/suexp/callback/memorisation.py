"""Whether a classifier has learned wrong labels by heart."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from suexp.callback._classifier import of_all
from suexp.callback._when import is_last
from suexp.callback.calibration import Calibration
from suexp.task.base import Task


class Memorisation(Calibration):
    r"""Probabilities given to wrong training labels, $\frac1{|D|} \sum_{i \in D} p_{i \tilde y_i}$.

    D are the training rows whose label $\tilde y$ is not their class y; see alter=label_noise.
    Measured once training is over, without dropout, on logits (b, classes). Final metrics:
    ``train/p_dirty``, as above; ``train/p_true``, the mean of $p_{i y_i}$ over the same rows: what
    the model would rather have said; ``train/p_clean``, the mean of $p_{i y_i}$ over the others.
    For each evaluated split: ``ece_noisy``, `Calibration`'s error against labels that are wrong by
    the same law, and ``confidence``, the mean of the largest p. The table ``memory`` has for dirty
    and clean rows (``rows``) the ``share`` with a probability of the training label in each of the
    bins (``q``, their middle).

    References: https://kexue.fm/archives/9526; Arpit et al., A Closer Look at Memorization in Deep
    Networks, arXiv:1706.05394.

    Args:
        bins: of equal width on [0, 1]; 15 as in Guo et al., arXiv:1706.04599.

    Raises:
        ValueError: no bins.
    """

    label: ClassVar[str] = "noisy_label"
    needs: ClassVar[dict[str, str]] = {
        "classes": "it looks at one class a row; use task=classification",
        "label_noise": "it compares wrong labels with right ones; use alter=label_noise",
    }

    def __init__(self, bins: int = 15) -> None:
        super().__init__(bins)

    def finish(self, split: str, sums: Tensor, task: Task) -> None:
        """Record the error against noisy labels."""
        rows, confidence, right = sums
        total = rows.sum().clamp(min=1)
        task.final[f"{split}/ece_noisy"] = float((right - confidence).abs().sum() / total)
        task.final[f"{split}/confidence"] = float(confidence.sum() / total)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the validation split and, once training is over, the training rows."""
        super().on_validation_epoch_end(trainer, pl_module)
        if is_last(trainer):
            self._look_back(trainer, pl_module)

    @torch.no_grad()
    def _look_back(self, trainer: pl.Trainer, task: Any) -> None:
        # Clean and dirty rows: how many, the probabilities of label and class, the histogram.
        sums = torch.zeros(2, 3 + self.bins, dtype=torch.float64)
        plugin: Any = trainer.precision_plugin
        with plugin.val_step_context():
            for batch in trainer.datamodule.in_order("train"):  # type: ignore[attr-defined]
                batch = task.received(batch)
                p = task.normalizer.predict(task.logits(batch)).double()
                q, true = (
                    p.gather(1, batch[name][:, None])[:, 0] for name in ("label", "clean_label")
                )
                place = (q * self.bins).long().clamp(max=self.bins - 1)
                bins = torch.nn.functional.one_hot(place, self.bins)
                values = torch.cat((torch.stack((torch.ones_like(q), q, true), 1), bins), 1)
                sums.index_add_(0, batch["is_dirty"].long().cpu(), values.cpu())
        clean, dirty = of_all(sums, trainer, task)
        task.final["train/p_clean"] = float(clean[1] / clean[0].clamp(min=1))
        if dirty[0]:
            task.final["train/p_dirty"] = float(dirty[1] / dirty[0])
            task.final["train/p_true"] = float(dirty[2] / dirty[0])
        task.tables.pop("memory", None)
        task.record_rows(
            "memory",
            [
                {"rows": name, "q": round((k + 0.5) / self.bins, 6), "share": float(n / found[0])}
                for name, found in (("clean", clean), ("dirty", dirty))
                if found[0]
                for k, n in enumerate(found[3:])
            ],
        )
