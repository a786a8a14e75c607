"""How a language model fares on texts of other lengths than it was trained on."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Int
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.attention.base import Attention
from suexp.callback._when import is_last
from suexp.callback.attention_stats import watch
from suexp.component import Component
from suexp.errors import UserError
from suexp.mask.prefix import Prefix
from suexp.task.base import Task


class Lengths(Callback, Component):
    r"""At the last validation: ``val/loss_nT`` and ``val/accuracy_nT`` for texts of T tokens.

    The validation text is laid end to end and cut into windows of the largest T. With
    ``score_last`` every T is scored on the same tokens, the last of each window, of which the model
    reads T - 1 and itself: only the context differs. Without, each window is cut into pieces of T,
    and all tokens count: the same text at every T. Masked language models hide the same tokens
    at every T. The table ``lengths`` has the same figures, by length. With targets S that count the
    loss is $-\frac1{|S|} \sum_{t \in S} \log p(x_t | \cdot)$. Shapes: windows (w, max T + 1).

    With ``entropy`` also ``val/attention_entropy_nT``: the mean of $-\sum_j p_{ij} \log p_{ij}$
    over queries, heads, layers and the first texts that are read at a time, in nats.

    References: https://kexue.fm/archives/9431; Press et al., ALiBi, arXiv:2108.12409.

    Args:
        lengths: the lengths T, in tokens; without score_last each divides the largest.
        score_last: how many tokens at the end of a window count; None: all.
        windows: how many windows are read, or as many as there are.
        batch_tokens: tokens that are read at a time.
        entropy: whether to measure how evenly attention is spread.

    Raises:
        ValueError: no lengths, one below score_last, one that does not divide the largest.
        UserError: a task that is no language model, a text too short, positions that end earlier,
            the entropy of a model without attention.
    """

    needs: ClassVar[dict[str, str]] = {
        "language_model": "it reads running text; use task=causal_lm or task=masked_lm"
    }
    refuses: ClassVar[dict[str, str]] = {
        "mask=prefix": "it cuts texts, which have no prefix; use mask=causal"
    }
    longest: ClassVar[str] = "lengths"

    def __init__(
        self,
        lengths: Sequence[int] = (64, 128, 256, 512),
        score_last: int | None = None,
        windows: int = 256,
        batch_tokens: int = 16384,
        entropy: bool = False,
    ) -> None:
        self.lengths = sorted(set(lengths))
        if not self.lengths or self.lengths[0] < 1 or min(windows, batch_tokens) < 1:
            raise ValueError("lengths, windows and batch_tokens must be at least 1")
        if score_last is not None and not 1 <= score_last <= self.lengths[0]:
            raise ValueError(
                f"score_last={score_last} must be from 1 to the least length, {self.lengths[0]}"
            )
        odd = [n for n in self.lengths if self.lengths[-1] % n]
        if score_last is None and odd:
            raise ValueError(
                f"length {odd[0]} does not divide {self.lengths[-1]}: set score_last, or others"
            )
        self.score_last, self.windows, self.batch_tokens = score_last, windows, batch_tokens
        self.entropy = entropy

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        if not hasattr(pl_module, "questions"):
            raise UserError(
                "callback=lengths reads running text; use task=causal_lm or task=masked_lm"
            )
        attends = any(isinstance(module, Attention) for module in pl_module.modules())
        if self.entropy and not attends:
            raise UserError(
                "callback=lengths measures the entropy of attention, and the model has none; set "
                "callbacks.lengths.entropy=false"
            )
        if pl_module.model.mask.find(Prefix) is not None:  # type: ignore[union-attr, operator]
            raise UserError("callback=lengths cuts texts, which have no prefix; use mask=causal")
        try:
            pl_module.model.position.check_length(self.lengths[-1])  # type: ignore[union-attr, operator]
        except ValueError as error:
            raise UserError(f"callback=lengths: {error}") from error

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, once training is over."""
        if not is_last(trainer):
            return
        assert isinstance(pl_module, Task)
        windows = self._windows(pl_module.data.splits()["validation"])
        numbers = torch.arange(len(windows))
        inputs, target = pl_module.questions(windows, numbers)  # type: ignore[operator]
        rows = []
        for length in self.lengths:
            found = self._measure(pl_module, inputs, target, length)
            pl_module.final |= {f"val/{name}_n{length}": value for name, value in found.items()}
            rows.append({"length": length, **found})
        pl_module.tables.pop("lengths", None)
        pl_module.record_rows("lengths", rows)

    def _windows(self, rows: Any) -> Int[Tensor, "w n"]:
        """Return windows of the largest length and one token more, which overlap by one."""
        size = self.lengths[-1]
        blocks = torch.as_tensor(rows[:]["tokens"]).long()  # each begins with the last's last token
        stream = torch.cat((blocks[0, :1], blocks[:, 1:].reshape(-1)))
        count = min((len(stream) - 1) // size, self.windows)
        if count == 0:
            raise UserError(
                f"callback=lengths: the validation text has {len(stream)} tokens, fewer than the "
                f"length {size}; lower callbacks' lengths or give it more text"
            )
        return stream[: count * size + 1].unfold(0, size + 1, size)

    @torch.no_grad()
    def _measure(self, task: Task, inputs: Tensor, target: Tensor, length: int) -> dict[str, float]:
        """Return the mean loss in nats, the share of tokens predicted right, and the entropy."""
        if self.score_last is None:
            inputs, target = inputs.reshape(-1, length), target.reshape(-1, length)
        else:
            inputs, target = inputs[:, -length:], target[:, -length:].clone()
            target[:, : length - self.score_last] = task.loss.ignore_index
        sums = torch.zeros(3, dtype=torch.float64)
        found: dict[str, float] = {}
        size = max(self.batch_tokens // length, 1)
        for x, y in zip(torch.split(inputs, size), torch.split(target, size), strict=True):
            x, y = x.to(task.device), y.to(task.device)
            at = y != task.loss.ignore_index
            looked_at = self.entropy and not found
            with watch(task.model) if looked_at else nullcontext() as stats:
                logits, y = task.model(x, at=at).float(), y[at]
            if stats is not None:
                found = {"attention_entropy": stats.metrics()["attention_entropy"]}
            loss = task.normalizer.cross_entropy(logits, y)
            right = (task.normalizer.best(logits) == y).sum()
            sums += torch.stack((loss, right, at.sum())).double().cpu()
        nats, accuracy = (sums[:2] / sums[2]).tolist()
        return {"loss": nats, "accuracy": accuracy, **found}
