"""Whether the copies that an enlargement made do different things."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from suexp.callback._when import is_first
from suexp.component import Component
from suexp.errors import at_least
from suexp.nn.feed_forward import FeedForward
from suexp.task.base import Task


class UntiedDistance(Callback, Component):
    r"""$\mathrm{rms}(h_{ir} - \bar h_i) / \mathrm{rms}(h)$ in the feed-forward layers.

    Unit r of the i-th group of ``factor`` neighbours is a copy of one unit of a narrower model
    right after transform=enlarge_width. 0: all copies still compute the same, and the wide model
    can do no more than a narrow one; about 1: they have nothing in common. Shapes: hidden layers
    (..., groups * factor). https://kexue.fm/archives/8444; Chen et al., Net2Net, arXiv:1511.05641.

    Logged at the beginning and at the end of training: ``val/untied_distance``. Table ``copies``:
    a corner of the first layer's matrix, ``when`` before and after, with row, column and weight.

    Args:
        factor: copies of a unit.
        batches: validation batches that are looked at.
        corner: rows and columns of the matrix that are recorded; 0: none.
    """

    needs: ClassVar[dict[str, str]] = {
        "feed_forward or counter": "it looks at units of feed-forward layers, and the model has "
        "none; use model=transformer, or leave it out"
    }

    def __init__(self, factor: int = 2, batches: int = 2, corner: int = 8) -> None:
        at_least(2, factor=factor)
        at_least(1, batches=batches)
        at_least(0, corner=corner)
        self.factor, self.batches, self.corner = factor, batches, corner

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the distance right after the enlargement."""
        if is_first(trainer):
            self._measure(trainer, pl_module, "before training")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the distance after training."""
        pl_module.final["val/untied_distance"] = self._measure(trainer, pl_module, "after training")  # type: ignore[operator, index]

    @torch.no_grad()
    def _measure(self, trainer: pl.Trainer, task: Any, when: str) -> float:
        assert isinstance(task, Task)
        layers = [m for m in task.model.modules() if isinstance(m, FeedForward)]
        sums = [torch.zeros(2, dtype=torch.float64)]

        def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            del layer
            hidden = inputs[0].double()
            hidden = hidden.view(*hidden.shape[:-1], -1, self.factor)
            apart = (hidden - hidden.mean(-1, keepdim=True)).square().sum()
            sums.append(torch.stack((apart, hidden.square().sum())).cpu())

        hooks = [layer.output.register_forward_pre_hook(look) for layer in layers]
        training = task.training
        task.eval()
        try:
            with torch.random.fork_rng(devices=[]):
                for index, batch in enumerate(trainer.datamodule.val_dataloader()):  # type: ignore[attr-defined]
                    if index == self.batches:
                        break
                    task.objective(task.received(batch))
        finally:
            for hook in hooks:
                hook.remove()
            task.train(training)
        apart, total = torch.stack(sums).sum(0).tolist()
        distance = (apart / total) ** 0.5 if total else 0.0
        for logger in trainer.loggers:
            logger.log_metrics({"val/untied_distance": distance}, trainer.global_step)
        if layers and self.corner:
            weight = layers[0].input.weight[: self.corner, : self.corner].tolist()
            task.record_rows(
                "copies",
                [
                    {"when": when, "row": i, "column": j, "weight": value}
                    for i, row in enumerate(weight)
                    for j, value in enumerate(row)
                ],
            )
        return distance
