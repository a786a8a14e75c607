"""Classification of texts or feature vectors."""

from typing import Any, ClassVar

from torch import Tensor

from suexp.data.base import Data
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated


class Classification(Evaluated):
    r"""Choose one of C classes: $L = -\frac1B \sum_b \log p(f(x_b))_{y_b}$, p softmax or another.

    Batches hold ``label`` (batch,) and either ``tokens`` with ``keep`` (batch, n) or vectors ``x``
    (batch, input_dim); the model returns logits (batch, C). Logged for validation, and for the test
    split where there is one: the loss in nats, without label smoothing or margin, and the accuracy
    of the most probable class.

    Reference: Bishop, Pattern Recognition and Machine Learning, section 4.3.4,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.
    """

    provides: ClassVar[set[str]] = {"text_vectors", "classes"}
    needs: ClassVar[dict[str, str]] = {
        "labels": "it needs labels; use data=docstring_topic, or data=digits with model=mlp",
        "model": "use model=transformer for texts, model=mlp for vectors",
    }

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.mean_loss = weighted_mean()
        self.accuracy = weighted_mean()

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the input and the number of classes."""
        sizes = dict(data.sizes)
        sizes["num_outputs"] = sizes.pop("num_classes")
        return sizes

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores of each row's classes, (B, C)."""
        if "x" in batch:
            return self.model(batch["x"])
        return self.model(batch["tokens"], keep=batch["keep"])

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the batch's mean loss."""
        return self.loss(self.logits(batch), batch["label"])

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add the batch's loss and accuracy."""
        logits, label = self.logits(batch), batch["label"]
        total = self.normalizer.cross_entropy(logits, label)
        self.mean_loss.update(total / len(label), weight=len(label))
        self.accuracy.update((self.normalizer.best(logits) == label).float())

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        loss, accuracy = self.mean_loss.compute(), self.accuracy.compute()
        self.report({f"{split}/loss": loss, f"{split}/accuracy": accuracy})
        self.mean_loss.reset()
        self.accuracy.reset()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return super().worst(split) | {f"{split}/accuracy": 0.0}
