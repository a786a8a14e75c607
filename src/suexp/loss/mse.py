"""Mean squared error."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.normalizer.base import at_least_float32


class MSE(nn.Module, Component):
    r"""$L = \frac1B \sum_b (f_b - y_b)^2$: a Gaussian's negative log-likelihood, up to constants.

    Computed in at least float32. Shapes: predictions f and targets y (B,), or both of any one
    shape.

    Reference: Bishop, Pattern Recognition and Machine Learning, section 3.1.1,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.

    Raises:
        ValueError: predictions and targets of different shapes, which would be spread over each
            other.

    Example:
        >>> import torch
        >>> from suexp.loss import MSE
        >>> MSE()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
        tensor(4.5000)
    """

    provides: ClassVar[set[str]] = {"squared_error"}
    needs: ClassVar[dict[str, str]] = {
        "numbers": "it compares numbers, not scores of classes; use task=regression"
    }

    def forward(
        self, prediction: Float[Tensor, "..."], target: Float[Tensor, "..."]
    ) -> Float[Tensor, ""]:
        """Return the mean."""
        if prediction.shape != target.shape:
            raise ValueError(
                f"predictions have shape {tuple(prediction.shape)}, targets {tuple(target.shape)}"
            )
        return (at_least_float32(prediction) - at_least_float32(target)).square().mean()
