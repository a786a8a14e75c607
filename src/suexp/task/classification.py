"""Classification of texts or feature vectors."""

from typing import Any, ClassVar

from torch import Tensor

from suexp.data.base import Data
from suexp.task._classes import ClassFigures
from suexp.task._inputs import outputs
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated


class Classification(Evaluated):
    r"""Choose one of C classes: $L = -\frac1B \sum_b \log p(f(x_b))_{y_b}$, p softmax or another.

    Batches hold ``label`` (batch,) and either ``tokens`` with ``keep`` (batch, n), of two texts a
    row also ``segments``, or vectors ``x`` (batch, input_dim); the model returns logits (batch, C).
    Logged for validation, and for the test split where there is one: the loss in nats, without
    label smoothing or margin, the accuracy of the most probable class, and what `ClassFigures` of
    `suexp.task._classes` tells: macro F1, and of two classes F1, AUC and the best threshold.

    Reference: Bishop, Pattern Recognition and Machine Learning, section 4.3.4,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.
    """

    provides: ClassVar[set[str]] = {"text_vectors", "classes"}
    needs: ClassVar[dict[str, str]] = {
        "labels": "it needs labels; use data=docstring_topic, data.kind=classification with rows "
        "of your own (of two texts: text and other), or data=digits with model=mlp",
        "model": "use model=transformer for texts, model=mlp for vectors",
    }

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.mean_loss = weighted_mean()
        self.accuracy = weighted_mean()
        self.classes: ClassFigures | None = None

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the input and the number of classes."""
        sizes = dict(data.sizes)
        sizes["num_outputs"] = sizes.pop("num_classes")
        return sizes

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores of each row's classes, (B, C)."""
        return outputs(self.model, batch)

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the batch's mean loss."""
        return self.loss(self.logits(batch), batch["label"])

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add the batch's loss and classes."""
        logits, label = self.logits(batch), batch["label"]
        total = self.normalizer.cross_entropy(logits, label)
        self.mean_loss.update(total / len(label), weight=len(label))
        best = self.normalizer.best(logits)
        self.accuracy.update((best == label).float())
        if self.classes is None:
            self.classes = ClassFigures(logits.shape[-1]).to(logits.device)
        self.classes.update(self.normalizer.predict(logits), best, label)

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        loss, accuracy = self.mean_loss.compute(), self.accuracy.compute()
        figures = {"loss": loss, "accuracy": accuracy}
        if self.classes is not None:
            figures |= self.classes.compute()
            self.classes.reset()
        self.report({f"{split}/{name}": figure for name, figure in figures.items()})
        self.mean_loss.reset()
        self.accuracy.reset()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        two = ("f1", "auc", "best_accuracy") if self.classes and self.classes.two else ()
        names = ("accuracy", "f1_macro", *two)
        return super().worst(split) | {f"{split}/{name}": 0.0 for name in names}
