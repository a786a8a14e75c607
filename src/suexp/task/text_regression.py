"""Prediction of a number from a text or a pair of texts."""

from typing import ClassVar

from suexp.task.regression import Regression


class TextRegression(Regression):
    r"""`Regression` of texts: $L = \frac1B \sum_b (f(x_b) - y_b)^2$, how similar two are, say.

    Batches hold ``tokens`` with ``keep`` (B, n), of two texts a row also ``segments``, and
    ``target`` (B,); the model returns (B, 1). What is logged, Spearman's and Pearson's correlation
    among it, is that of `Regression`.

    Reference: Cer et al., SemEval-2017 Task 1: Semantic Textual Similarity, arXiv:1708.00055.
    """

    needs: ClassVar[dict[str, str]] = {
        "quantities": "its texts have a number each; use data=files with data.kind=regression",
        "text": "it reads texts; use data=files with data.kind=regression, or task=regression",
        "model": "use model=transformer",
        "squared_error": "it needs a loss of numbers; use loss=mse",
    }
