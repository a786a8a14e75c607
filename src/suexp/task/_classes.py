"""What is told of classes beside accuracy."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from suexp.task._mean import weighted_mean


class ClassFigures(nn.Module):
    r"""F1 of C classes, and what the probabilities of two say whatever the threshold.

    ``f1_macro`` is the mean over the classes that occur, found or true, of their
    $2 \mathrm{tp} / (2 \mathrm{tp} + \mathrm{fp} + \mathrm{fn})$. Of two classes also: ``f1`` of
    the second, ``auc``, the share of pairs of rows of both classes whose order its probability p
    tells, and ``best_accuracy`` with its ``threshold``: the most rows that $p \ge \theta$ can get
    right, by the best $\theta$ for these very rows. Shapes: p (B, C), classes (B,).

    References: van Rijsbergen, Information Retrieval, chapter 7; Fawcett, An introduction to ROC
    analysis, https://doi.org/10.1016/j.patrec.2005.10.010.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        from torchmetrics.classification.f_beta import BinaryF1Score, MulticlassF1Score
        from torchmetrics.classification.roc import BinaryROC

        super().__init__()
        self.mean = MulticlassF1Score(num_classes, average="macro", validate_args=False)
        self.two = num_classes == 2
        if self.two:
            self.second = BinaryF1Score(validate_args=False)
            self.curve = BinaryROC(validate_args=False)
            self.share = weighted_mean()  # of the second class

    def update(
        self, p: Float[Tensor, "b c"], best: Int[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> None:
        """Add a batch: probabilities, the most probable classes, the right ones."""
        self.mean.update(best, label)
        if self.two:
            self.second.update(best, label)
            self.curve.update(p[:, 1], label)
            self.share.update(label.float())

    def compute(self) -> dict[str, Tensor]:
        """Return the figures; those of thresholds only where both classes occur."""
        found = {"f1_macro": self.mean.compute()}
        if self.two:
            found["f1"] = self.second.compute()
            share = self.share.compute()
            if 0 < share < 1:
                false, true, threshold = self.curve.compute()
                accuracy = share * true + (1 - share) * (1 - false)
                best = accuracy.argmax()
                found["auc"] = torch.trapezoid(true, false)
                found |= {"best_accuracy": accuracy[best], "threshold": threshold[best]}
        return found

    def reset(self) -> None:
        """Begin anew."""
        for metric in self.children():
            metric.reset()  # type: ignore[operator]
