"""How curved a linear layer's loss is, and how large a learning rate it bears."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suexp.errors import at_least
from suexp.nn.quadratic import hessians, largest_stable_rate
from suexp.task.classification import Classification
from suexp.task.closed_form import ClosedForm


class HessianBound(ClosedForm, Classification):
    r"""$\lambda_{\max}(H)$ of the squared loss, $H = E[x x^\top]$, by what is done to the input x.

    Gradient descent on a quadratic converges from anywhere iff its rate is below
    $2/\lambda_{\max}$, and $\lambda_{\max}(\mathrm{Cov}) \le \lambda_{\max}(H) \le
    \lambda_{\max}(\mathrm{Cov}) + |m|^2$: centring x lowers the curvature. One pass over the rows
    sums $E[xx^\top]$, $E[x]$ and the products with the one-hot labels, in float64; all forms of the
    input follow (`suexp.nn.quadratic`), and the model's last layer is set to the least-squares
    solution. With ``bias`` H is that of weights and bias together.

    Final, for each of raw, center, scale and standard: ``train/lmax_{form}``; the looser bounds
    ``train/trace_{form}`` and ``train/entries_{form}``, the sum of all |entries|;
    ``train/stable_lr_{form}``, the largest rate at which descending does not grow, and
    ``train/stable_ratio_{form}``, that over $2/\lambda_{\max}$. The table ``hessian`` has them by
    ``form``. The logistic loss at zero weights has a quarter of all.

    Post: https://kexue.fm/archives/6992. Paper: Santurkar et al., How Does Batch Normalization Help
    Optimization?, arXiv:1805.11604.

    Args:
        bias: whether the layer's bias counts.
        steps: of gradient descent, for the largest stable rate.

    Raises:
        ValueError: steps below 1; a model whose last layer is not linear.
    """

    needs: ClassVar[dict[str, str]] = {
        "labels": "it sets a classifier; use data=sklearn with model=linear",
        "vectors": "it sums products of vectors; use data=sklearn with model=linear",
        "model": "use model=linear",
    }

    def __init__(self, bias: bool = True, steps: int = 1000, **parts: Any) -> None:
        super().__init__(**parts)
        at_least(1, steps=steps)
        if not isinstance(getattr(self.model, "classifier", None), nn.Linear):
            raise ValueError(f"{type(self.model).__name__} has no linear layer; use model=linear")
        self.bias, self.steps = bias, steps

    def accumulate(self, batch: dict[str, Tensor]) -> None:
        """Add a batch's moments."""
        x = self.widened(batch["x"])
        y = F.one_hot(batch["label"].to(x.device), self.model.classifier.out_features).to(x.dtype)
        new = {
            "rows": torch.tensor(float(len(x)), dtype=x.dtype, device=x.device),
            "x": x.sum(0),
            "y": y.sum(0),
            "xx": x.T @ x,
            "xy": x.T @ y,
        }
        self.sums = {name: value + self.sums.get(name, 0) for name, value in new.items()}

    def solve(self) -> None:
        """Set the layer, and measure."""
        sums = self.joined()
        rows = sums.pop("rows")
        mean = {name: total / rows for name, total in sums.items()}
        layer = self.model.classifier
        joint = hessians(mean["xx"], mean["x"])["raw"]
        right = torch.cat([mean["xy"], mean["y"][None]])
        weights = torch.linalg.pinv(joint, hermitian=True) @ right
        layer.weight.copy_(weights[:-1].T)
        layer.bias.copy_(weights[-1])
        found = []
        for form, h in hessians(mean["xx"], mean["x"], self.bias).items():
            row = {
                "lmax": float(torch.linalg.eigvalsh(h)[-1]),
                "trace": float(h.trace()),
                "entries": float(h.abs().sum()),
                "stable_lr": largest_stable_rate(h, self.steps),
            }
            row["stable_ratio"] = row["stable_lr"] * row["lmax"] / 2
            self.final |= {f"train/{name}_{form}": value for name, value in row.items()}
            found.append({"form": form, **row})
        self.record_rows("hessian", found)
