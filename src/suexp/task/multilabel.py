"""Classification of texts that may have several classes each."""

from typing import Any, ClassVar

from torch import Tensor

from suexp.data.base import Data
from suexp.task._inputs import outputs
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated


class Multilabel(Evaluated):
    r"""Find which of C labels a text has: $p_c = \sigma(f_c(x))$, each for itself.

    Batches hold ``tokens`` with ``keep`` (B, n) and ``labels`` (B, C), bool; the model returns
    logits (B, C). A label is found where $p_c > 1/2$. Logged for validation, and for the test split
    where there is one: the loss, ``accuracy``, the share of rows whose labels are all right, and F1
    over all rows and labels together (``f1_micro``) and as the mean over labels (``f1_macro``).

    Reference: Read et al., Classifier chains for multi-label classification,
    https://doi.org/10.1007/s10994-011-5256-5, section 2 ("binary relevance").
    """

    provides: ClassVar[set[str]] = {"text_vectors", "separate_labels"}
    needs: ClassVar[dict[str, str]] = {
        "label_sets": "its texts have several labels each; use data=files with "
        "data.kind=multilabel",
        "separate_scores": "its loss judges each label for itself; use loss=binary_cross_entropy",
        "model": "use model=transformer",
    }

    def __init__(self, **parts: Any) -> None:
        from torchmetrics.classification.exact_match import MultilabelExactMatch
        from torchmetrics.classification.f_beta import MultilabelF1Score

        super().__init__(**parts)
        count = self.data.sizes["num_classes"]
        self.mean_loss = weighted_mean()
        self.accuracy = MultilabelExactMatch(count, validate_args=False)
        self.micro = MultilabelF1Score(count, average="micro", validate_args=False)
        self.macro = MultilabelF1Score(count, average="macro", validate_args=False)

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the vocabulary and the number of labels."""
        sizes = dict(data.sizes)
        sizes["num_outputs"] = sizes.pop("num_classes")
        return sizes

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the batch's mean loss."""
        return self.loss(outputs(self.model, batch), batch["labels"])

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add the batch's loss and labels."""
        logits, labels = outputs(self.model, batch), batch["labels"]
        self.mean_loss.update(self.loss(logits, labels), weight=len(labels))
        for metric in (self.accuracy, self.micro, self.macro):
            metric.update((logits > 0).int(), labels.int())

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        figures = {
            "loss": self.mean_loss,
            "accuracy": self.accuracy,
            "f1_micro": self.micro,
            "f1_macro": self.macro,
        }
        self.report({f"{split}/{name}": metric.compute() for name, metric in figures.items()})
        for metric in figures.values():
            metric.reset()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        shares = (f"{split}/{name}" for name in ("accuracy", "f1_micro", "f1_macro"))
        return super().worst(split) | dict.fromkeys(shares, 0.0)
