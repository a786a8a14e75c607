"""How much it costs a model that words of its source are hidden."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._classifier import of_all
from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError, between
from suexp.nn.replacement import generator_of
from suexp.nn.word_noise import noised
from suexp.task.base import Task


class SourceGap(Callback, Component):
    r"""Once training is over: $L(y | \tilde x^r, y_{<t})$, words of the source x hidden at rate r.

    L is the mean loss in nats of the validation split's target tokens (b, n), at the end of
    training. In $\tilde x^r$ all tokens of each word are hidden with probability r, in all rows
    (`suexp.nn.word_noise`). Every run hides the same.

    Final: ``val/loss_hidden_r30`` at r = 0.3 and so on. The table ``source_gap`` has ``rate``,
    ``loss`` and ``gap``, the loss above that of whole sources.

    Post: https://kexue.fm/archives/8454.

    Args:
        rates: shares r of the words.

    Raises:
        ValueError: a rate outside (0, 1].
        UserError: the task has no sources.
    """

    needs: ClassVar[dict[str, str]] = {
        "prefix_length": "it hides words of sources; use task=seq2seq or task=similar_sentence"
    }

    def __init__(self, rates: Sequence[float | int] = (0.15, 0.3, 0.45, 0.6)) -> None:
        between("(0, 1]", rates=rates)
        self.rates = [float(rate) for rate in rates]
        self._sums = torch.zeros(1 + len(self.rates), 2, dtype=torch.float64)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the sums of losses and tokens to 0."""
        del trainer, pl_module
        self._sums.zero_()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch of the last validation."""
        del outputs, dataloader_idx
        if is_last(trainer):
            assert isinstance(pl_module, Task)
            self._sums += self.measured(pl_module, batch, batch_idx).cpu()

    def measured(self, task: Any, batch: dict[str, Tensor], number: int) -> Tensor:
        """Return the sums of losses and the numbers of tokens: of whole sources, and each rate.

        Raises:
            UserError: the task has no sources.
        """
        if "prefix_length" not in batch:
            raise UserError("callback=source_gap hides words of sources; use task=seq2seq")
        rank, _ = task.place
        found = []
        for rate in (0.0, *self.rates):
            inputs = noised(task, batch, 1.0, rate, generator_of(number, rank), 1.0, 0.0)
            logits, target = task.predict({**batch, "inputs": inputs}, "target")
            loss = task.normalizer.cross_entropy(logits, target)
            found.append(torch.stack([loss.double(), loss.new_tensor(len(target)).double()]))
        return torch.stack(found)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down the losses."""
        if not is_last(trainer):
            return
        assert isinstance(pl_module, Task)
        sums = of_all(self._sums, trainer, pl_module)
        losses = (sums[:, 0] / sums[:, 1].clamp(min=1)).tolist()
        pl_module.tables.pop("source_gap", None)
        rows = []
        for rate, loss in zip((0.0, *self.rates), losses, strict=True):
            if rate:
                pl_module.final[f"val/loss_hidden_r{round(100 * rate)}"] = loss
            rows.append({"rate": rate, "loss": loss, "gap": loss - losses[0]})
        pl_module.record_rows("source_gap", rows)
