"""How the second moment of the states changes from layer to layer, before training."""

import math
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import UserError
from suexp.nn.linear import Linear
from suexp.task.base import Task

SMALLEST = -99.0  # in place of the logarithm of 0
LARGEST = 99.0


class LayerMoments(Callback, Component):
    r"""$q_l = E\, h_{l,i}^2$ over components and rows at the first validation, l = 0 the input.

    A layer that keeps lengths has $q_l = q_0$. States h (b, dim) are what the model's linear layers
    read, hence behind activations and norms. It measures before training with
    ``trainer.max_steps=0`` or ``trainer.val_at_start=true``; else at the first validation that
    there is.

    Final metrics: ``start/log10_moment``, $\log_{10} (q_L / q_0)$ for the last layer that reads a
    hidden state (of nothing but zeros: -99; where a state is infinite: 99), and
    ``start/abs_log10_moment``. The table ``moments`` has ``layer`` and ``moment``, the ratio.

    Post: https://kexue.fm/archives/7180; of transformers https://kexue.fm/archives/8620.

    Raises:
        UserError: the model has fewer than two linear layers.
    """

    needs: ClassVar[dict[str, str]] = {
        "vectors": "it follows the states of vectors; use model=mlp with data=digits"
    }

    def __init__(self) -> None:
        self._ratios: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured."""
        return {"ratios": list(self._ratios)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self._ratios = list(state_dict["ratios"])

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what it could not measure."""
        del trainer, stage
        assert isinstance(pl_module, Task)
        if len(_layers(pl_module.model)) < 2:
            raise UserError(
                "callback=layer_moments: the model has no hidden layer; use model=mlp with "
                "model.num_layers above 0"
            )

    @torch.no_grad()
    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pass the first batch through, unless that was done."""
        del trainer
        if self._ratios:
            return
        assert isinstance(pl_module, Task)
        task = pl_module
        rows = task.data.splits()["validation"]
        few = rows.__getitems__(list(range(min(512, len(rows)))))
        batch = task.received(task.data.collate(few))
        moments: list[float] = []

        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            moments.append(float(inputs[0].double().square().mean()))

        hooks = [layer.register_forward_pre_hook(note) for layer in _layers(task.model)]
        try:
            task.model(batch["x"])
        finally:
            for hook in hooks:
                hook.remove()
        self._ratios = [moment / moments[0] if moments[0] else math.nan for moment in moments]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it down."""
        del trainer
        assert isinstance(pl_module, Task)
        last = self._ratios[-1]
        log = SMALLEST if last == 0 else math.log10(last) if math.isfinite(last) else LARGEST
        log = max(SMALLEST, min(log, LARGEST))
        pl_module.final |= {"start/log10_moment": log, "start/abs_log10_moment": abs(log)}
        pl_module.tables.pop("moments", None)
        rows = [{"layer": layer, "moment": value} for layer, value in enumerate(self._ratios)]
        pl_module.record_rows("moments", [row for row in rows if math.isfinite(row["moment"])])


def _layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, Linear)]
