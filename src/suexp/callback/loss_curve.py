"""What a loss asks of the right class's probability."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import at_least


class LossCurve(Callback, Component):
    r"""$L(q)$ and the weight $-\partial L / \partial \log q$ on a grid of q, for two classes.

    The scores are (s, 0) with s from -``width`` to ``width`` and the first class is right, with
    probability q by the loss's own normaliser. The weight is 1 everywhere for cross-entropy. It is
    the loss as the last step had it. Table ``loss_curve``: ``q``, ``loss``, ``weight``. Shapes:
    logits (1, 2).

    Reference: https://kexue.fm/archives/9526.

    Args:
        points: of the grid.
        width: largest score.

    Raises:
        ValueError: fewer than two points, a width below 1.
    """

    needs: ClassVar[dict[str, str]] = {
        "class_scores": "it asks the loss about scores of classes; use loss=cross_entropy"
    }

    def __init__(self, points: int = 41, width: float | int = 6) -> None:
        at_least(2, points=points)
        at_least(1, width=width)
        self.points, self.width = points, width

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute the curve, once training is over."""
        if is_last(trainer):
            task: Any = pl_module
            task.tables.pop("loss_curve", None)
            task.record_rows("loss_curve", self.rows(task.loss, task.normalizer, task.device))

    @torch.inference_mode(False)
    @torch.enable_grad()
    def rows(self, loss: Any, normalizer: Any, device: Any = "cpu") -> list[dict[str, float]]:
        """Return the rows of the table."""
        found = []
        right = torch.zeros(1, dtype=torch.long, device=device)
        for s in torch.linspace(-self.width, self.width, self.points).tolist():
            score = torch.tensor(s, device=device, requires_grad=True)
            logits = torch.stack((score, torch.zeros_like(score)))[None]
            value, log_q = loss(logits, right), normalizer.log_prob(logits)[0, 0]
            slopes = [torch.autograd.grad(x, score, retain_graph=True)[0] for x in (value, log_q)]
            weight = -float(slopes[0] / slopes[1]) if slopes[1] else 0.0
            q = float(log_q.detach().exp())
            found.append({"q": q, "loss": float(value.detach()), "weight": weight})
        return found
