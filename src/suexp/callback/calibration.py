"""Whether a classifier's probabilities are as good as they say."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.callback._classifier import ClassifierSums
from suexp.task.base import Task


class Calibration(ClassifierSums):
    r"""``val/calibration_error`` $= \sum_k \frac{n_k}{N} |a_k - p_k|$.

    Predictions, by logits (b, classes) and labels (b,), fall into bins of their confidence, the
    largest probability: $n_k$ of them with mean confidence $p_k$, of which the share $a_k$ is
    right. The bins of the last split are the rows of the table ``calibration``. Confidence
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
        super().__init__(3, bins)  # rows, confidence, right
        self.bins = bins

    def add(
        self, sums: Tensor, logits: Float[Tensor, "b c"], label: Int[Tensor, " b"], task: Task
    ) -> None:
        """Add each row to its bin."""
        confidence, chosen = task.normalizer.predict(logits).max(-1)
        place = (confidence * self.bins).long().clamp(max=self.bins - 1)
        values = (torch.ones_like(confidence), confidence, chosen == label)
        for total, value in zip(sums, values, strict=True):
            total.index_add_(0, place.cpu(), value.double().cpu())

    def finish(self, split: str, sums: Tensor, task: Task) -> None:
        """Record the bins and their error."""
        rows, confidence, right = sums
        task.tables["calibration"] = []
        task.record_rows(
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
        task.final[f"{split}/calibration_error"] = float(error)
