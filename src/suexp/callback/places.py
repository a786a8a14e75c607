"""How a language model fares before and after some place of its texts."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback.leave_one_out import evenly
from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task

IGNORE = -100


class Places(Callback, Component):
    r"""At every validation: $-\log p(x_t | \cdot)$ and accuracy at places t < n, and at the others.

    Logged: ``val/loss_before`` and ``val/accuracy_before`` for t < ``split_at``, ``val/loss_after``
    and ``val/accuracy_after`` for the rest, in nats and as shares of the tokens that the task asks
    for (all of a causal language model; the same hidden ones every time of a masked one). The mean
    over all places would hide what becomes of the new ones (https://kexue.fm/archives/7947). Texts
    that end before ``split_at`` have no others. The table ``places`` has the last validation's
    figures (place, loss, accuracy) in steps of ``width``. Shapes: tokens (rows, n).

    Args:
        split_at: the first place that is not ``before``.
        rows: how many validation rows are read, or as many as there are.
        width: neighbouring places that make one row of the table.

    Raises:
        ValueError: a number below 1.
        UserError: a task that is no language model.
    """

    needs: ClassVar[dict[str, str]] = {
        "language_model": "it reads running text; use task=causal_lm or task=masked_lm"
    }

    def __init__(self, split_at: int, rows: int = 256, width: int = 4) -> None:
        if min(split_at, rows, width) < 1:
            raise ValueError(
                f"split_at {split_at}, rows {rows} and width {width} must be at least 1"
            )
        self.split_at, self.rows, self.width = split_at, rows, width

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        if not hasattr(pl_module, "questions"):
            raise UserError(
                "callback=places reads running text; use task=causal_lm or task=masked_lm"
            )

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure."""
        del trainer
        task: Any = pl_module
        assert isinstance(task, Task)
        texts = evenly(task.data.splits()["validation"], self.rows)
        loss, right, count = self._sums(task, texts)
        found, length = {}, len(count)
        for name, part in (("before", slice(self.split_at)), ("after", slice(self.split_at, None))):
            if asked := count[part].sum():
                found[f"val/loss_{name}"] = float(loss[part].sum() / asked)
                found[f"val/accuracy_{name}"] = float(right[part].sum() / asked)
        task.report(found)
        task.tables["places"] = []
        sums = [
            F.pad(x, (0, -length % self.width)).view(-1, self.width).sum(1)
            for x in (loss, right, count)
        ]
        for i, (a, b, n) in enumerate(zip(*(x.tolist() for x in sums), strict=True)):
            if n:
                row = {"place": (i + 0.5) * self.width, "loss": a / n, "accuracy": b / n}
                task.record_rows("places", [row])

    def _sums(self, task: Any, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return the sums of losses, of right answers, and of questions, (n,) each."""
        sums: Tensor | None = None
        numbers = torch.arange(len(tokens))
        size = task.data.eval_batch_size
        for batch, rows in zip(torch.split(tokens, size), torch.split(numbers, size), strict=True):
            inputs, target = task.questions(batch.to(task.device), rows)
            at = target != IGNORE
            logits, wanted = task.model(inputs, at=at).float(), target[at]
            values = -task.normalizer.log_prob(logits).gather(1, wanted[:, None])[:, 0]
            parts = torch.zeros(3, *target.shape, device=task.device)
            parts[:, at] = torch.stack(
                (values, (task.normalizer.best(logits) == wanted).float(), at[at])
            )
            total = parts.double().sum(1).cpu() if task.device.type != "mps" else parts.sum(1).cpu()
            sums = total if sums is None else sums + total
        assert sums is not None
        return tuple(sums)
