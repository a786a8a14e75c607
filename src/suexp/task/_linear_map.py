"""How well the best linear map explains one set of vectors by another."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric


class LinearMap(Metric):
    r"""$R^2 = 1 - \min_W \sum_i |y_i - W x_i|^2 / \sum_i |y_i|^2$, without a constant.

    What is kept are sums over rows, so that batches and processes may come one by one;
    $W = (\sum y x^T)(\sum x x^T)^+$ is solved in float64. Shapes: x and y (n, dim).

    Reference: Hastie et al., The Elements of Statistical Learning, section 3.2,
    https://hastie.su.domains/ElemStatLearn/.
    """

    full_state_update = False
    xx: Tensor
    xy: Tensor
    yy: Tensor

    def __init__(self, dim: int, **settings: Any) -> None:
        super().__init__(**settings)
        for name, shape in (("xx", (dim, dim)), ("xy", (dim, dim)), ("yy", ())):
            self.add_state(name, torch.zeros(shape), dist_reduce_fx="sum")

    def update(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> None:
        """Add rows."""
        self.xx = self.xx + x.T @ x
        self.xy = self.xy + x.T @ y
        self.yy = self.yy + y.square().sum()

    def compute(self) -> Tensor:
        """Return R^2, nan where y is 0."""
        xx, xy = self.xx.double().cpu(), self.xy.double().cpu()
        explained = (xy * (torch.linalg.pinv(xx, rtol=1e-6, hermitian=True) @ xy)).sum()
        return explained / self.yy.double().cpu()
