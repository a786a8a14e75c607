"""How much the loss rises when noise is added to the weights."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.component import Component
from suexp.errors import at_least
from suexp.task.base import Task


class WeightNoise(Callback, Component):
    r"""At the end of training: $\mathrm{val/noise\_rise} = L(\theta + \epsilon) - L(\theta)$.

    Each parameter tensor gets noise $\epsilon \sim N(0, (\sigma\,\mathrm{RMS}(\theta))^2)$ of
    its own shape; the loss is the validation loss in the task's unit, and the rise is the mean
    over ``draws``. A flat minimum rises little. Chen et al., arXiv:2302.06675, section 3.2, and
    https://kexue.fm/archives/9473.

    Args:
        scale: $\sigma$, relative to the tensor's root mean square.
        draws: how many noise vectors are averaged.
        batches: validation batches that a loss is measured on.
    """

    needs: ClassVar[dict[str, str]] = {
        "optimizer": "it measures the training loss around the weights, and there is none here; "
        "leave it out"
    }

    def __init__(self, scale: float = 0.02, draws: int = 4, batches: int = 8) -> None:
        at_least(0, scale=scale)
        at_least(1, draws=draws, batches=batches)
        self.scale, self.draws, self.batches = scale, draws, batches

    @torch.no_grad()
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, and put the weights back."""
        assert isinstance(pl_module, Task)
        loader = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        batches: list[Any] = []
        for batch in loader:
            if len(batches) == self.batches:
                break
            batches.append(pl_module.received(batch))
        training = pl_module.training
        pl_module.eval()

        def loss() -> float:
            # Masks and dropout, where there are any, fall alike on every measurement.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return sum(float(pl_module.objective(batch)) for batch in batches) / len(batches)

        generator = torch.Generator().manual_seed(0)
        parameters = list(pl_module.model.parameters())
        kept = [parameter.clone() for parameter in parameters]
        base, rises = loss(), []
        for _ in range(self.draws):
            for parameter, original in zip(parameters, kept, strict=True):
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.copy_(original + noise * self.scale * original.square().mean().sqrt())
            rises.append(loss() - base)
        for parameter, original in zip(parameters, kept, strict=True):
            parameter.copy_(original)
        pl_module.train(training)
        pl_module.final["val/noise_rise"] = sum(rises) / len(rises)
