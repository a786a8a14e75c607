"""The exponential moving average of the weights, which is what a run validates and leaves."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import between
from suexp.normalizer.base import at_least_float32


class EMA(Callback, Component):
    r"""$\bar\theta_t = \alpha \bar\theta_{t-1} + (1 - \alpha) \theta_t$ from $\theta_0$ on.

    After each step the average of all trained weights, of any shapes, follows them. Training goes
    on from the weights themselves and does not change; validation reads the average, and once
    training is over the average takes the weights' place: it is tested, saved, and what another
    run starts from. About $1/(1 - \alpha)$ steps have a part in it, so that a short run needs a
    smaller $\alpha$. The average is kept in at least float32, and in the run's checkpoints.

    Post: https://kexue.fm/archives/8046; Polyak and Juditsky, Acceleration of Stochastic
    Approximation by Averaging, https://doi.org/10.1137/0330046.

    Args:
        decay: $\alpha$ in [0, 1), 0.9999 in the post; 0 is no average.

    Raises:
        ValueError: a decay outside [0, 1).
    """

    needs: ClassVar[dict[str, str]] = {
        "optimizer": "nothing is trained here, so there is nothing to average; leave it out"
    }
    refuses: ClassVar[dict[str, str]] = {
        "trainer=fsdp": "it averages whole weights; use trainer=ddp",
        "adversarial": "the generator has an average of its own; set task.ema_decay",
    }

    def __init__(self, decay: float | int = 0.9999) -> None:
        between("[0, 1)", decay=decay)
        self.decay = decay
        self._average: list[Tensor] = []
        self._step = 0
        self._swapped = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the weights as they are; a run that goes on has its average already."""
        weights = _weights(pl_module)
        if self._average:
            self._average = [
                average.to(weight.device)
                for average, weight in zip(self._average, weights, strict=True)
            ]
            return
        self._average = [at_least_float32(weight).clone() for weight in weights]
        self._step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Follow a step; a batch that made none changes nothing."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        weights = [at_least_float32(weight) for weight in _weights(pl_module)]
        torch._foreach_lerp_(self._average, weights, 1 - self.decay)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the average be read; after training it stands there."""
        self._swapped = trainer.state.fn == "fit"
        if self._swapped:
            self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on from the weights."""
        del trainer
        if self._swapped:
            self._swap(pl_module)
        self._swapped = False

    @torch.no_grad()
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in the weights' place."""
        del trainer
        for weight, average in zip(_weights(pl_module), self._average, strict=True):
            weight.copy_(average)

    def state_dict(self) -> dict[str, Any]:
        """Return the average, and the step that it has followed."""
        return {"average": self._average, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the average of a run that goes on."""
        self._average, self._step = state_dict["average"], state_dict["step"]

    @torch.no_grad()
    def _swap(self, task: pl.LightningModule) -> None:
        weights = _weights(task)
        kept = [at_least_float32(weight).clone() for weight in weights]
        for weight, average in zip(weights, self._average, strict=True):
            weight.copy_(average)
        self._average = kept


def _weights(task: Any) -> list[Tensor]:
    return [p.detach() for m in task.trained for p in m.parameters() if p.requires_grad]
