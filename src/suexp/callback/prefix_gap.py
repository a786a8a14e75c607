"""How much a wrong prefix costs a model that learned to go on after true ones."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._classifier import of_all
from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError, one_of
from suexp.nn.replacement import POOLS, Pool, generator_of, replaced
from suexp.task.base import Task


class PrefixGap(Callback, Component):
    r"""Once training is over: $\mathrm{gap}(r) = L(y | x, \tilde y^r_{<t}) - L(y | x, y_{<t})$.

    L is the mean loss in nats of the validation split's target tokens (b, n), at the end of
    training. In $\tilde y^r$ each token that the model reads of a target is replaced with
    probability r, in all rows, by a draw from the pool (`suexp.nn.replacement`). Teacher forcing
    never meets such prefixes, a model that writes does: exposure bias. Every run draws the same
    replacements. Those of the pool ``model`` are draws from what the model itself predicts after
    the true prefix, errors of its own rather than those of a training method.

    Final: ``val/prefix_gap_r30`` at r = 0.3 and so on, ``val/prefix_gap_model_r30`` for that pool.
    The table ``prefix_gap`` has ``pool``, ``rate``, ``loss`` and ``gap``.

    References: https://kexue.fm/archives/7259; Ranzato et al., Sequence Level Training with
    Recurrent Neural Networks, arXiv:1511.06732.

    Args:
        rates: shares r of the tokens.
        pools: where replacements are drawn from; the first one's metrics have no name of a pool.

    Raises:
        ValueError: a rate outside (0, 1], or an unknown pool.
        UserError: the task has no targets.
    """

    needs: ClassVar[dict[str, str]] = {
        "prefix_length": "it replaces tokens of targets; use task=seq2seq"
    }

    def __init__(
        self,
        rates: Sequence[float | int] = (0.1, 0.2, 0.3, 0.4, 0.5),
        pools: Sequence[Pool] = ("target", "model"),
    ) -> None:
        for rate in rates:
            if not 0 < rate <= 1:
                raise ValueError(f"rates must lie in (0, 1], not {rate}")
        for pool in pools:
            one_of(POOLS, pools=pool)
        self.settings: list[tuple[Pool, float]] = [(p, float(r)) for p in pools for r in rates]
        self._sums = torch.zeros(1 + len(self.settings), 2, dtype=torch.float64)

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
        """Return the sums of losses and the numbers of tokens: of true prefixes, and each setting.

        Raises:
            UserError: the task has no targets.
        """
        if "prefix_length" not in batch:
            raise UserError("callback=prefix_gap replaces tokens of targets; use task=seq2seq")
        rank, _ = task.place
        found = [self._loss(task, batch)]
        for pool, rate in self.settings:
            generator = generator_of(number, rank)
            inputs = replaced(task, batch, pool, 1.0, rate, generator)
            found.append(self._loss(task, {**batch, "inputs": inputs}))
        return torch.stack(found)

    def _loss(self, task: Any, batch: dict[str, Tensor]) -> Tensor:
        logits, target = task.predict(batch, "target")
        loss = task.normalizer.cross_entropy(logits, target)
        return torch.stack([loss.double(), torch.tensor(len(target)).to(loss.double())])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down the gaps."""
        if not is_last(trainer):
            return
        assert isinstance(pl_module, Task)
        sums = of_all(self._sums, trainer, pl_module)
        true, *wrong = (sums[:, 0] / sums[:, 1].clamp(min=1)).tolist()
        pl_module.tables.pop("prefix_gap", None)
        rows = []
        for (pool, rate), loss in zip(self.settings, wrong, strict=True):
            name = "prefix_gap" if pool == self.settings[0][0] else f"prefix_gap_{pool}"
            pl_module.final[f"val/{name}_r{round(100 * rate)}"] = loss - true
            rows.append({"pool": pool, "rate": rate, "loss": loss, "gap": loss - true})
        pl_module.record_rows("prefix_gap", rows)
