"""How often the sign of a batch's gradient is right."""

from collections.abc import Sequence
from typing import ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import at_least
from suexp.task.base import Task


class GradientSign(Callback, Component):
    r"""Share of components with $\mathrm{sign}(g_B) = \mathrm{sign}(\bar g)$, at the end.

    $\bar g$ is the mean gradient over ``batches`` training batches, $g_B$ that of one of them;
    both have the parameters' shapes, and components whose $\bar g$ is 0 do not count. A sign
    optimizer follows noise where this share is near 1/2.
    https://kexue.fm/archives/9473 and arXiv:2302.06675.

    Logged: ``train/gradient_sign_agreement``.

    Args:
        batches: batches in the mean; each also serves as $g_B$.
    """

    needs: ClassVar[dict[str, str]] = {
        "optimizer": "it compares gradients, and no gradient is taken here; leave it out"
    }

    def __init__(self, batches: int = 16) -> None:
        at_least(1, batches=batches)
        self.batches = batches

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure; the random generators are left as they were."""
        assert isinstance(pl_module, Task)
        gradients = []
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            for index, batch in enumerate(trainer.datamodule.train_dataloader()):  # type: ignore[attr-defined]
                if index == self.batches:
                    break
                parameters = [p for p in pl_module.model.parameters() if p.requires_grad]
                parts = pl_module.parts(pl_module.received(batch))
                found = [
                    _flat(torch.autograd.grad(pl_module.objective(part), parameters))
                    for part in parts
                ]
                gradients.append(torch.stack(found).mean(0))
        mean = torch.stack(gradients).mean(0)
        counts = mean != 0
        agreement = [
            ((g.sign() == mean.sign()) & counts).sum() / counts.sum().clamp(min=1)
            for g in gradients
        ]
        pl_module.final["train/gradient_sign_agreement"] = float(torch.stack(agreement).mean())


def _flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
