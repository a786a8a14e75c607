"""Prediction of a number from feature vectors."""

import warnings
from typing import Any, ClassVar

from torch import Tensor
from torchmetrics.metric import Metric

from suexp.data.base import Data
from suexp.normalizer.base import at_least_float32
from suexp.task._inputs import outputs
from suexp.task._splits import Evaluated


class Regression(Evaluated):
    r"""Predict a number: $L = \frac1B \sum_b (f(x_b) - y_b)^2$ with loss=mse.

    Batches hold vectors ``x`` (B, input_dim) and ``target`` (B,); the model returns (B, 1). Logged
    for validation, and for the test split where there is one: ``loss``, the mean squared error in
    units of the targets squared, ``mae``, the mean absolute error, and where there are two rows
    ``r2``, $1 - \sum_b (f_b - y_b)^2 / \sum_b (\bar y - y_b)^2$, and the correlations ``pearson``
    and ``spearman`` (of ranks; equal values share their mean rank), 0 where a side is constant.

    Reference: Bishop, Pattern Recognition and Machine Learning, section 3.1,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.
    """

    provides: ClassVar[set[str]] = {"numbers"}
    needs: ClassVar[dict[str, str]] = {
        "quantities": "it predicts numbers; use data=sklearn with data.name=diabetes, or "
        "task=text_regression with data=files",
        "model": "use model=mlp or model=linear",
        "squared_error": "it needs a loss of numbers; use loss=mse",
    }

    def __init__(self, **parts: Any) -> None:
        from torchmetrics.regression.mae import MeanAbsoluteError
        from torchmetrics.regression.mse import MeanSquaredError
        from torchmetrics.regression.pearson import PearsonCorrCoef
        from torchmetrics.regression.r2 import R2Score
        from torchmetrics.regression.spearman import SpearmanCorrCoef

        super().__init__(**parts)
        self.squared, self.absolute = MeanSquaredError(), MeanAbsoluteError()
        self.explained, self.pearson = R2Score(), PearsonCorrCoef()
        with warnings.catch_warnings():  # ranks need all predictions, as it tells us
            warnings.filterwarnings("ignore", "Metric `SpearmanCorrcoef` will save all")
            self.spearman = SpearmanCorrCoef()

    @property
    def _figures(self) -> dict[str, Metric]:
        return {
            "loss": self.squared,
            "mae": self.absolute,
            "r2": self.explained,
            "pearson": self.pearson,
            "spearman": self.spearman,
        }

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the input or the vocabulary, and that one number is predicted."""
        return {**data.sizes, "num_outputs": 1}

    def predict(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the predictions (B,)."""
        return outputs(self.model, batch).squeeze(-1)

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the batch's mean loss."""
        loss: Tensor = self.loss(self.predict(batch), batch["target"])
        return loss

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add the batch's errors."""
        prediction, target = map(at_least_float32, (self.predict(batch), batch["target"]))
        for metric in self._figures.values():
            metric.update(prediction, target)

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        of_one_row = ("loss", "mae")
        several = int(self.explained.total) > 1
        found = {n: metric for n, metric in self._figures.items() if several or n in of_one_row}
        with warnings.catch_warnings():  # of a constant side, whose correlation is none
            warnings.filterwarnings("ignore", "The variance of predictions or target")
            told = {name: metric.compute() for name, metric in found.items()}
        for name in told.keys() & {"pearson", "spearman"}:
            told[name] = told[name].nan_to_num(0.0)
        self.report({f"{split}/{name}": value for name, value in told.items()})
        for metric in self._figures.values():
            metric.reset()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return super().worst(split) | {f"{split}/pearson": 0.0, f"{split}/spearman": 0.0}
