"""What is added to the scores of attention, whatever the tokens are."""

import math
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class ScoreBias(Callback, Component):
    r"""After training: $b_{ij}$, where attention is $\mathrm{softmax}(q_i \cdot k_j + b_{ij})$.

    That is the bias of positions (ALiBi, KERPLE, Sandwich, T5), or 0, where the mask lets query i
    see key j; the other cells are left out, as they are $-\infty$. Table ``score_bias``: row (i),
    column (j), bias, every ``length / points``-th of both. Shapes: b (length, length).

    Reference: length extrapolation by what is subtracted from scores,
    https://kexue.fm/archives/9431.

    Args:
        length: how many tokens the text has.
        points: cells along each side, at most.
        head: whose bias, from 0, of heads that differ.

    Raises:
        ValueError: length, points or head out of range.
        UserError: a model without positions or mask, fewer heads, positions that end earlier.
    """

    needs: ClassVar[dict[str, str]] = {
        "attention": "it shows what is added to the scores of attention, and the model has none; "
        "use model=transformer, or leave it out"
    }

    def __init__(self, length: int = 64, points: int = 32, head: int = 0) -> None:
        if not 2 <= points <= length or head < 0:
            raise ValueError(
                f"points={points} must be from 2 to length={length}, and head={head} at least 0"
            )
        self.length, self.points, self.head = length, points, head

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        self._bias(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the bias, once training is over."""
        if not is_last(trainer):
            return
        assert isinstance(pl_module, Task)
        bias, model = self._bias(pl_module), pl_module.model
        allowed = model.mask.dense(self.length, self.length)
        step = math.ceil(self.length / self.points)
        pl_module.tables.pop("score_bias", None)
        pl_module.record_rows(
            "score_bias",
            [
                {"row": i, "column": j, "bias": round(float(bias[i, j]), 4)}
                for i in range(0, self.length, step)
                for j in range(0, self.length, step)
                if allowed is None or allowed[i, j]
            ],
        )

    @torch.no_grad()
    def _bias(self, task: Any) -> Float[Tensor, "n n"]:
        model = task.model
        if not (hasattr(model, "position") and hasattr(model, "mask")):
            raise UserError(
                "callback=score_bias reads a model that has positions and a mask; use "
                "model=transformer, or leave it out"
            )
        try:
            model.position.check_length(self.length)
        except ValueError as error:
            raise UserError(f"callback=score_bias: {error}") from error
        places = torch.arange(self.length, device=task.device)
        bias = model.position.bias(places, places)
        if bias is None:
            return torch.zeros(self.length, self.length)
        heads = bias.reshape(-1, self.length, self.length)
        if self.head >= len(heads) > 1:
            raise UserError(f"callback=score_bias: head={self.head}, and there are {len(heads)}")
        return heads[min(self.head, len(heads) - 1)].float().cpu()
