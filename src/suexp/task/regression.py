"""Prediction of a number from feature vectors, texts or pairs of texts."""

import warnings
from typing import Any, ClassVar

from torch import Tensor, nn

from suexp.data.base import Data
from suexp.normalizer.base import at_least_float32
from suexp.task._inputs import outputs
from suexp.task._splits import Evaluated


class Regression(Evaluated):
    r"""Predict a number: $L = \frac1B \sum_b (f(x_b) - y_b)^2$ with loss=mse.

    Batches hold vectors ``x`` (B, input_dim), or ``tokens`` with ``keep`` (B, n) and of two texts a
    row ``segments``, and ``target`` (B,); the model returns (B, 1). Logged for validation, and for
    the test split where there is one: ``loss``, the mean squared error in units of the targets
    squared, ``mae``, the mean absolute error, and where there are two rows ``r2``,
    $1 - \sum_b (f_b - y_b)^2 / \sum_b (\bar y - y_b)^2$, and the correlations ``pearson`` and
    ``spearman`` (of ranks; equal values share their mean rank), 0 where either side is constant.

    Reference: Bishop, Pattern Recognition and Machine Learning, section 3.1,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.
    """

    provides: ClassVar[set[str]] = {"numbers"}
    needs: ClassVar[dict[str, str]] = {
        "quantities": "it predicts numbers; use data=sklearn with data.name=diabetes, or "
        "data.kind=regression with texts of your own",
        "model": "use model=mlp or model=linear for vectors, model=transformer for texts",
        "squared_error": "it needs a loss of numbers; use loss=mse",
    }

    def __init__(self, **parts: Any) -> None:
        from torchmetrics.regression.mae import MeanAbsoluteError
        from torchmetrics.regression.mse import MeanSquaredError
        from torchmetrics.regression.pearson import PearsonCorrCoef
        from torchmetrics.regression.r2 import R2Score
        from torchmetrics.regression.spearman import SpearmanCorrCoef

        super().__init__(**parts)
        self.errors = nn.ModuleDict({"loss": MeanSquaredError(), "mae": MeanAbsoluteError()})
        # Of two rows or more.
        self.agreements = nn.ModuleDict({"r2": R2Score(), "pearson": PearsonCorrCoef()})
        with warnings.catch_warnings():  # ranks need all predictions, as it tells us
            warnings.filterwarnings("ignore", "Metric `SpearmanCorrcoef` will save all")
            self.agreements["spearman"] = SpearmanCorrCoef()

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
        for metric in (*self.errors.values(), *self.agreements.values()):
            metric.update(prediction, target)

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        found = dict(self.errors)
        if int(self.agreements["r2"].total) > 1:
            found |= dict(self.agreements)
        with warnings.catch_warnings():  # of a constant side, whose correlation is none
            warnings.filterwarnings("ignore", "The variance of predictions or target")
            told = {f"{split}/{name}": metric.compute() for name, metric in found.items()}
        for name in ("pearson", "spearman"):
            if name in found:
                told[f"{split}/{name}"] = told[f"{split}/{name}"].nan_to_num(0.0)
        self.report(told)
        for metric in (*self.errors.values(), *self.agreements.values()):
            metric.reset()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return super().worst(split) | {f"{split}/pearson": 0.0, f"{split}/spearman": 0.0}
