"""How far the gradient of a step is from that of the whole batch."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError, at_least
from suexp.method._chunked import direct_gradient, relative_error, rows_of
from suexp.nn.passes import RandomState
from suexp.task.base import Task


class GradientError(Callback, Component):
    r"""$|g - g^*| / |g^*|$ at chosen steps, over all parameters, before any clipping.

    $g^*$ is the gradient of the whole batch's loss by plain differentiation in one graph; both have
    the parameters' shapes. Where the model draws random numbers (dropout) the chunks of a step are
    passed one by one, so that both gradients belong to the same draws; elsewhere, so with batch
    norm, the batch passes in one piece. https://kexue.fm/archives/8471 and arXiv:2101.06983.

    Logged: ``train/grad_rel_error``, ``train/grad_cosine``, and where a method has one the
    surrogate ``train/surrogate`` beside the loss of that step, ``train/batch_loss``. Final: the
    mean of the errors, their largest as ``train/grad_rel_error_max``, and
    ``train/surrogate_gap``, the mean of |surrogate - loss| / loss.

    Args:
        every: steps from one measurement to the next.
    """

    needs: ClassVar[dict[str, str]] = {
        "loss_on_vectors": "it compares gradients of losses on vectors; use task=matching"
    }

    def __init__(self, every: int = 50) -> None:
        at_least(1, every=every)
        self.every = every
        self._errors: list[float] = []
        self._gaps: list[float] = []
        self._batch: dict[str, Tensor] | None = None
        self._state: RandomState | None = None
        self._pending: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured so far."""
        return {"errors": list(self._errors), "gaps": list(self._gaps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what was measured before the interruption."""
        self._errors, self._gaps = list(state_dict["errors"]), list(state_dict["gaps"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a task without losses on vectors."""
        del trainer
        if not hasattr(pl_module, "loss_from_vectors"):
            raise UserError("callback=gradient_error compares losses on vectors; use task=matching")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the random state in which the step begins."""
        del pl_module, batch_idx
        if (trainer.global_step + 1) % self.every:
            return
        self._batch, self._state = batch, RandomState(batch)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure: here gradients are scaled no more, and not clipped yet."""
        del optimizer
        batch, state, self._batch, self._state = self._batch, self._state, None, None
        if batch is None or state is None:
            return
        assert isinstance(pl_module, Task)
        parameters = [p for p in pl_module.parameters() if p.requires_grad]
        sizes = [size for m in pl_module.methods if (size := getattr(m, "chunk_size", None))]
        if pl_module.batches_per_step > 1:
            sizes.append(rows_of(pl_module.parts(batch)[0]))
        plugin: Any = trainer.precision_plugin
        with plugin.train_step_context():
            loss, direct = direct_gradient(
                pl_module, batch, parameters, state, sizes[0] if sizes else None
            )
        if trainer.world_size > 1:
            direct = [
                None if g is None else trainer.strategy.reduce(g, reduce_op="mean") for g in direct
            ]
        found = [p.grad for p in parameters]
        error = relative_error(found, direct)
        self._errors.append(error)
        self._pending = {"train/grad_rel_error": error, "train/grad_cosine": _cosine(found, direct)}
        for method in pl_module.methods:
            surrogate = getattr(method, "surrogate", None)
            if surrogate is not None:
                self._pending["train/surrogate"] = float(surrogate)
                self._pending["train/batch_loss"] = float(loss)
                self._gaps.append(abs(float(surrogate) - float(loss)) / max(float(loss), 1e-12))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Write it down under the step's own number."""
        del pl_module
        pending, self._pending = self._pending, {}
        if pending:
            for logger in trainer.loggers:
                logger.log_metrics(pending, trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the means and the largest error as final metrics."""
        del trainer
        assert isinstance(pl_module, Task)
        if self._errors:
            pl_module.final["train/grad_rel_error"] = sum(self._errors) / len(self._errors)
            pl_module.final["train/grad_rel_error_max"] = max(self._errors)
        if self._gaps:
            pl_module.final["train/surrogate_gap"] = sum(self._gaps) / len(self._gaps)


def _cosine(found: list[Tensor | None], expected: list[Tensor | None]) -> float:
    product = sizes = other = 0.0
    for a, b in zip(found, expected, strict=True):
        if a is not None and b is not None:
            product += float((a.double() * b.double()).sum())
        sizes += 0.0 if a is None else float(a.double().square().sum())
        other += 0.0 if b is None else float(b.double().square().sum())
    return product / max((sizes * other) ** 0.5, torch.finfo(torch.float64).tiny)
