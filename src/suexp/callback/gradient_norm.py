"""How large each layer's gradient is before the first step."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class GradientNorm(Callback, Component):
    r"""Norm $\|\partial L / \partial \theta_l\|$ of layer l's gradient at the first step.

    It is that before clipping. With norms after the sums it is largest in the last layers, which is
    why such models need warm-up. A layer is an entry of one of the model's lists of modules; its
    parameters, of any shape, count as one vector.

    Final metrics: ``start/gradient_first`` and ``start/gradient_last``, of the first and the last
    layer. The table ``gradients`` has ``layer``, from 0, and ``norm``.

    References: Xiong et al., On Layer Normalization in the Transformer Architecture,
    arXiv:2002.04745; https://kexue.fm/archives/8620; of residual scores: He et al., RealFormer,
    arXiv:2012.11747, and https://kexue.fm/archives/8027.

    Raises:
        UserError: the model has no list of modules.
    """

    needs: ClassVar[dict[str, str]] = {
        "optimizer": "it measures the first step's gradient, and no gradient is taken here; leave "
        "it out",
        "layers": "it compares the layers' gradients, and the model has no list of layers; use "
        "model=transformer, or leave it out",
    }

    def __init__(self) -> None:
        self._norms: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured."""
        return {"norms": list(self._norms)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the norms."""
        self._norms = list(state_dict["norms"])

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what it could not measure."""
        del trainer, stage
        assert isinstance(pl_module, Task)
        if not layers_of(pl_module.model):
            raise UserError("callback=gradient_norm: the model has no layers; leave it out")

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure at the first step."""
        del optimizer
        if trainer.global_step == 0 and isinstance(pl_module, Task):
            self._norms = [float(norm(layer)) for layer in layers_of(pl_module.model)]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write everything down once training is over."""
        if not is_last(trainer) or not self._norms:
            return
        assert isinstance(pl_module, Task)
        pl_module.final |= {
            "start/gradient_first": self._norms[0],
            "start/gradient_last": self._norms[-1],
        }
        pl_module.tables.pop("gradients", None)
        rows = [{"layer": layer, "norm": value} for layer, value in enumerate(self._norms)]
        pl_module.record_rows("gradients", rows)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Return the entries with parameters of the model's outermost lists, in their order."""
    found: list[nn.Module] = []
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            found += [entry for entry in child if any(True for _ in entry.parameters())]
        else:
            found += layers_of(child)
    return list(dict.fromkeys(found))  # shared layers once


def norm(layer: nn.Module) -> Tensor:
    """Return the norm of the gradients of a layer's parameters; those of sharded ones are whole."""
    grads: list[Any] = [p.grad for p in layer.parameters() if p.grad is not None]
    whole = [g.full_tensor() if hasattr(g, "full_tensor") else g for g in grads]
    return nn.utils.get_total_norm(whole)
