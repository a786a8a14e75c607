"""How fast the gradient changes along the way that a step takes."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from suexp.callback._probe import StepProbe
from suexp.component import Component
from suexp.errors import UserError, at_least
from suexp.method.base import Skip
from suexp.task.base import Task


class Smoothness(StepProbe, Component):
    r"""$\beta = \max_a \frac{|\nabla f(\theta - a g) - g|}{a |g|}$ with $g = \nabla f(\theta)$.

    f is the loss of the step's own batch, with its random draws; the gradient is that over all
    trainable parameters, of any shapes, as one vector, and a runs over ``distances``. Where
    gradients are L-Lipschitz, $\beta \le L$, and a step of less than 2 / L lowers the loss.
    Weights, running averages and random generators are as before afterwards.

    Logged: ``train/beta``, ``train/loss_range``, the largest less the smallest $f(\theta - a g)$,
    and ``train/predictiveness``, $\max_a |\nabla f(\theta - a g) - g|$. Final: the mean of the
    first as ``train/beta_mean``, and of the last as ``train/predictiveness_mean``. The table
    ``smoothness`` has them by ``step`` and ``loss``, since networks should be compared where their
    losses are equal.

    References: https://kexue.fm/archives/6992; Santurkar et al., How Does Batch Normalization Help
    Optimization?, arXiv:1805.11604.

    Args:
        every: steps from one measurement to the next.
        distances: the values of a.

    Raises:
        ValueError: every below 1, or no distance above 0.
        UserError: a step's gradient comes of several batches.
    """

    needs: ClassVar[dict[str, str]] = {
        "optimizer": "it follows the gradient of training steps, and there are none here; leave "
        "it out"
    }
    refuses: ClassVar[dict[str, str]] = {
        "trainer=fsdp": "it moves whole weights; use trainer=ddp",
        "adversarial": "it follows one loss, and there are two; leave it out",
    }

    def __init__(
        self, every: int = 10, distances: Sequence[float | int] = (0.05, 0.1, 0.2, 0.4)
    ) -> None:
        super().__init__()
        at_least(1, every=every)
        if not distances or not all(a > 0 for a in distances):
            raise ValueError(f"distances={list(distances)} must be above 0, and one at least")
        self.every, self.distances = every, list(distances)
        self._rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured."""
        return {"rows": [dict(row) for row in self._rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self._rows = [dict(row) for row in state_dict["rows"]]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse what it would measure on a part only."""
        del trainer, stage
        assert isinstance(pl_module, Task)
        if pl_module.batches_per_step > 1:
            raise UserError(
                "callback=smoothness takes a step's rows at once; set "
                "trainer.accumulate_grad_batches=1"
            )

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Walk down the gradient and back."""
        del optimizer
        if (trainer.global_step + 1) % self.every:
            return
        assert isinstance(pl_module, Task)
        parameters = [p for module in pl_module.trained for p in module.parameters()]
        parameters = [p for p in parameters if p.requires_grad]
        try:
            loss, start = self.gradient(trainer, pl_module, parameters)
        except Skip:
            return
        moved = [(p, g) for p, g in zip(parameters, start, strict=True) if g is not None]
        weights, g = [p for p, _ in moved], [g for _, g in moved]
        kept, size = [p.detach().clone() for p in weights], _length(g)
        losses, changes = [], []
        try:
            for a in self.distances:
                with torch.no_grad():
                    for p, origin, slope in zip(weights, kept, g, strict=True):
                        p.copy_(origin - a * slope)
                there, found = self.gradient(trainer, pl_module, weights)
                losses.append(there)
                pairs = zip(found, g, strict=True)
                changes.append(_length([(0 if new is None else new) - old for new, old in pairs]))
        finally:
            with torch.no_grad():
                for p, origin in zip(weights, kept, strict=True):
                    p.copy_(origin)
        if not size:
            return  # at a stationary point there is no direction
        ratios = [float(c / (a * size)) for c, a in zip(changes, self.distances, strict=True)]
        self._rows.append(
            {
                "step": trainer.global_step + 1,
                "loss": float(loss),
                "beta": max(ratios),
                "loss_range": float(max(losses) - min(losses)),
                "predictiveness": float(max(changes)),
            }
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Write it down under the step's own number."""
        del pl_module
        row = self._rows[-1] if self._rows else {}
        if row.get("step") == trainer.global_step:
            names = ("beta", "loss_range", "predictiveness")
            for logger in trainer.loggers:
                logger.log_metrics(
                    {f"train/{name}": row[name] for name in names}, trainer.global_step
                )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store means and rows."""
        del trainer
        assert isinstance(pl_module, Task)
        if not self._rows:
            return
        for name in ("beta", "predictiveness"):
            mean = sum(row[name] for row in self._rows) / len(self._rows)
            pl_module.final[f"train/{name}_mean"] = mean
        pl_module.tables.pop("smoothness", None)
        pl_module.record_rows("smoothness", self._rows)


def _length(tensors: Sequence[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack([t.norm() for t in tensors]))
