"""How far layers have moved apart that began as one."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.callback._when import is_last
from suexp.component import Component


class LayerDrift(Callback, Component):
    r"""$\|\theta_l - \bar\theta\| / \|\bar\theta\|$ of layer l, $\bar\theta$ the layers' mean.

    Over all parameters of a layer, of any shape, as one vector. 0: all layers are one, as with
    model.sharing=all, or right after transform=unshare. Final: ``val/layer_drift``, the mean over
    layers; table ``drift``: ``layer``, from 0, and ``distance``. https://kexue.fm/archives/7187.
    """

    needs: ClassVar[dict[str, str]] = {
        "layers": "it compares layers, and the model has no list of layers; use model=transformer"
    }

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        layers = torch.stack(
            [
                torch.cat([p.detach().double().flatten().cpu() for p in block.parameters()])
                for block in task.model.blocks
            ]
        )
        mean = layers.mean(0)
        apart = ((layers - mean).norm(dim=1) / mean.norm()).tolist()
        task.final["val/layer_drift"] = sum(apart) / len(apart)
        task.tables.pop("drift", None)
        task.record_rows("drift", [{"layer": i, "distance": d} for i, d in enumerate(apart)])
