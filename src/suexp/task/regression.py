"""Prediction of a number from feature vectors."""

from typing import Any, ClassVar

from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, R2Score

from suexp.data.base import Data
from suexp.normalizer.base import at_least_float32
from suexp.task._splits import Evaluated


class Regression(Evaluated):
    r"""Predict a number: $L = \frac1B \sum_b (f(x_b) - y_b)^2$ with loss=mse.

    Batches hold vectors ``x`` (B, input_dim) and ``target`` (B,); the model returns (B, 1). Logged
    for validation, and for the test split where there is one: ``loss``, the mean squared error in
    units of the targets squared, ``mae``, the mean absolute error, and ``r2``,
    $1 - \sum_b (f_b - y_b)^2 / \sum_b (\bar y - y_b)^2$, where there are two rows.

    Reference: Bishop, Pattern Recognition and Machine Learning, section 3.1,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.
    """

    provides: ClassVar[set[str]] = {"numbers"}
    needs: ClassVar[dict[str, str]] = {
        "targets": "it predicts numbers; use data=sklearn with data.name=diabetes",
        "model": "use model=mlp or model=linear",
        "squared_error": "it needs a loss of numbers; use loss=mse",
    }

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.squared = MeanSquaredError()
        self.absolute = MeanAbsoluteError()
        self.explained = R2Score()

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the input, and that one number is predicted."""
        return {"input_dim": data.sizes["input_dim"], "num_outputs": 1}

    def predict(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the predictions (B,)."""
        prediction: Tensor = self.model(batch["x"])
        return prediction.squeeze(-1)

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the batch's mean loss."""
        loss: Tensor = self.loss(self.predict(batch), batch["target"])
        return loss

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add the batch's errors."""
        prediction, target = map(at_least_float32, (self.predict(batch), batch["target"]))
        for metric in (self.squared, self.absolute, self.explained):
            metric.update(prediction, target)

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        found = {"loss": self.squared.compute(), "mae": self.absolute.compute()}
        if int(self.explained.total) > 1:
            found["r2"] = self.explained.compute()
        self.report({f"{split}/{name}": value for name, value in found.items()})
        for metric in (self.squared, self.absolute, self.explained):
            metric.reset()
