"""Where a classifier of two features draws its borders."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class DecisionGrid(Callback, Component):
    r"""At the end of training: $c(x) = \arg\max_c p(c | x)$ on a grid of the plane.

    Shapes: rows (n, 2), logits (n, classes), n = points^2; the grid reaches as far as the training
    rows. Its table ``decision`` has rows of x1, x2 and class; ``val/classes_chosen`` is how many
    classes have a region. With the total covariance of https://kexue.fm/archives/8578 a class
    between two others may have none.

    Reference: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 4.2,
    https://doi.org/10.1007/978-0-387-84858-7.

    Args:
        points: along each axis.

    Raises:
        ValueError: fewer than 2 points.
        UserError: the rows do not have two features.
    """

    needs: ClassVar[dict[str, str]] = {
        "classes": "it draws the borders between classes; use task=classification",
        "plane": "it draws the plane of two features; use data=sklearn with data.columns=[2,3], "
        "say",
    }

    def __init__(self, points: int = 32) -> None:
        if points < 2:
            raise ValueError(f"points={points}: at least 2")
        self.points = points

    @torch.no_grad()
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the class that the model chooses at each point of the grid."""
        assert isinstance(pl_module, Task)
        loading: Any = trainer.datamodule  # type: ignore[attr-defined]
        rows = loading.splits["train"][:].get("x")
        if rows is None or len(rows[0]) != 2:
            raise UserError(
                "callback=decision_grid draws the plane of two features; use data.columns=[2,3]"
            )
        x = torch.stack([torch.as_tensor(row) for row in rows])
        axes = [
            torch.linspace(float(low), float(high), self.points)
            for low, high in zip(x.amin(0), x.amax(0), strict=True)
        ]
        grid = torch.cartesian_prod(*axes)
        model: Any = pl_module.model
        training = model.training
        model.eval()
        chosen = pl_module.normalizer.best(model(pl_module.received({"x": grid})["x"])).tolist()
        model.train(training)
        pl_module.record_rows(
            "decision",
            [
                {"x1": round(a, 4), "x2": round(b, 4), "class": c}
                for (a, b), c in zip(grid.tolist(), chosen, strict=True)
            ],
        )
        pl_module.final["val/classes_chosen"] = float(len(set(chosen)))
