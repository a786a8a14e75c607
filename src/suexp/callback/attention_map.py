"""Where a model looks: the weights of attention on one text."""

from typing import Any, ClassVar

import pytorch_lightning as pl
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.attention.base import Attention
from suexp.callback._attention import attentions, observed, read, weights_of
from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError, at_least
from suexp.task.base import Task


class AttentionMap(Callback, Component):
    r"""After training: $\bar p_{ij} = \frac1h \sum_k p^{(k)}_{ij}$ of a held-out text, by layer.

    $p^{(k)}_{ij}$ is how much head k's query i takes of key j. Shapes: p (h, n, m). Table
    ``attention_map``: layer (from 0), query (i), key (j), weight. Queries that see nothing, as of
    padding, and keys beyond ``length`` are left out. The modules of an encoder come before those of
    a decoder. Weights are those of `AttentionStats`, for any attention.

    Reference: Vaswani et al., Attention Is All You Need, arXiv:1706.03762, figures 3 to 5; of a
    mask that shows the source whole, https://kexue.fm/archives/6933.

    Args:
        row: the text's number in the first batch of the validation rows.
        length: how many of its tokens are shown, at most.

    Raises:
        ValueError: row below 0, length below 1.
        UserError: a model without attention, a batch of fewer texts.
    """

    needs: ClassVar[dict[str, str]] = {
        "attention": "it shows where attention looks, and the model has none; use "
        "model=transformer, or leave it out"
    }

    def __init__(self, row: int = 0, length: int = 64) -> None:
        at_least(0, "callbacks.attention_map", row=row)
        at_least(1, "callbacks.attention_map", length=length)
        self.row, self.length = row, length

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        assert isinstance(pl_module, Task)
        attentions(pl_module, "attention_map")
        data = pl_module.data
        found = min(len(data.splits()["validation"]), data.eval_batch_size)
        if self.row >= found:
            raise UserError(
                f"callback=attention_map: callbacks.attention_map.row={self.row}, and a batch has "
                f"{found} texts, from 0"
            )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the weights, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        assert isinstance(task, Task)
        seen: dict[int, Tensor] = {}

        def look(layer: int, attention: Attention, call: dict[str, Any]) -> None:
            if layer not in seen:
                seen[layer] = weights_of(attention, call)[0].mean(0).float().cpu()

        with observed(attentions(task.model, "attention_map"), look):
            read(trainer, task, 1, slice(self.row, self.row + 1))
        task.tables.pop("attention_map", None)
        for layer in sorted(seen):
            task.record_rows("attention_map", self._rows(layer, seen[layer]))

    def _rows(self, layer: int, weights: Float[Tensor, "n m"]) -> list[dict[str, Any]]:
        kept = weights[: self.length, : self.length].tolist()
        return [
            {"layer": layer, "query": i, "key": j, "weight": round(weight, 4)}
            for i, row in enumerate(kept)
            if sum(row) > 0
            for j, weight in enumerate(row)
        ]
