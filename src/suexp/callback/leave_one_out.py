"""How well a language model predicts one token from all others."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Int
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError
from suexp.task._fill_in import FillIn


class LeaveOneOut(Callback, Component):
    r"""At every validation: $-\log p(x_i | x_{j \ne i})$ at a fixed set of (text, place) pairs.

    Logged: ``val/loo_loss``, its mean in nats, and ``val/loo_accuracy``. The token in question, and
    no other, is replaced by the mask token, so that the figures compare across ways of training: a
    masked language model needs that, a model whose output i cannot know token i (``model=tta``) is
    not changed by it, and one that leaks is found out. Losses of the tasks themselves do not
    compare, for there several tokens of a text may be hidden, or none. Shapes: texts (b, n).

    References: https://kexue.fm/archives/7661; Shin et al., arXiv:2004.08097.

    Args:
        pairs: how many tokens are asked for.
        per_text: how many of a text at most; they are drawn once, from the validation split.

    Raises:
        ValueError: a number below 1.
        UserError: a task that does not predict tokens from both sides.
    """

    needs: ClassVar[dict[str, str]] = {
        "fill_in": "it asks for tokens between others; use task=masked_lm or task=autoencode_lm"
    }

    def __init__(self, pairs: int = 768, per_text: int = 8) -> None:
        if min(pairs, per_text) < 1:
            raise ValueError(f"pairs {pairs} and per_text {per_text} must be at least 1")
        self.pairs, self.per_text = pairs, per_text

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured."""
        del trainer, stage
        if not isinstance(pl_module, FillIn):
            raise UserError(
                "callback=leave_one_out asks for tokens between others; use task=masked_lm or "
                "task=autoencode_lm"
            )

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure."""
        del trainer
        task: Any = pl_module
        texts = evenly(task.data.splits()["validation"], -(-self.pairs // self.per_text))[:, :-1]
        generator = torch.Generator().manual_seed(0)
        order = torch.rand(texts.shape, generator=generator).masked_fill(~task.ordinary(texts), 2)
        places = order.argsort(1)[:, : self.per_text]
        row = torch.arange(len(texts))[:, None].expand_as(places)
        real = order.gather(1, places) < 2
        row, place = (x[real][: self.pairs].to(task.device) for x in (row, places))
        texts, loss, right = texts.to(task.device), 0.0, 0.0
        for r, p in zip(torch.split(row, 512), torch.split(place, 512), strict=True):
            inputs, at = texts[r], torch.zeros_like(texts[r], dtype=torch.bool)
            at[torch.arange(len(r), device=at.device), p] = True
            logits = task.model(inputs.masked_fill(at, task.mask_id), at=at).float()
            loss += float(task.normalizer.cross_entropy(logits, inputs[at]))
            right += float((task.normalizer.best(logits) == inputs[at]).sum())
        task.report({"val/loo_loss": loss / len(row), "val/loo_accuracy": right / len(row)})


def evenly(rows: Any, count: int) -> Int[Tensor, "t n1"]:
    """Return about so many rows of running text, evenly apart, so that they are of many texts."""
    chosen = range(0, len(rows), max(len(rows) // count, 1))[:count]
    return torch.as_tensor(rows[chosen]["tokens"]).long()
