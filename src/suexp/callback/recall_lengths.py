"""How well a model finds a key again among more of them than in training."""

import copy
from collections.abc import Sequence
from typing import ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.callback._when import is_last
from suexp.callback.attention_stats import watch
from suexp.component import Component
from suexp.data.recall import Recall
from suexp.errors import UserError
from suexp.task.base import Task


class RecallLengths(Callback, Component):
    r"""At the last validation: ``val/accuracy_nN`` and ``val/entropy_nN`` among N keys.

    Accuracy is that of data=recall with ``data.length`` N, other draws for each N; the entropy of
    attention, $-\sum_j p_j \log p_j$ in nats, is the mean over its heads and all queries of the
    first texts. The table ``recall`` has one row for each N, and the final metric
    ``val/entropy_slope`` is how fast the entropy grows with log N (least squares). Shapes: texts
    (B, N + 1, input_dim), logits (B, num_classes).

    References: https://kexue.fm/archives/8823; Chiang and Cholak, arXiv:2202.12172.

    Args:
        lengths: the N.
        texts: how many are read for each N.
        batch_keys: keys that are read at a time, which bounds the memory.

    Raises:
        ValueError: a number below 1, or fewer than two lengths.
        UserError: other data than recall.
    """

    needs: ClassVar[dict[str, str]] = {
        "recall": "it draws texts of other lengths from that data; use data=recall, or leave it out"
    }
    longest: ClassVar[str] = "lengths"

    def __init__(
        self,
        lengths: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
        texts: int = 512,
        batch_keys: int = 16384,
    ) -> None:
        self.lengths = sorted(set(lengths))
        if len(self.lengths) < 2 or min(texts, batch_keys, *self.lengths) < 1:
            raise ValueError("two lengths or more, texts and batch_keys must be at least 1")
        self.texts, self.batch_keys = texts, batch_keys

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        if not isinstance(getattr(pl_module, "data", None), Recall):
            raise UserError("callback=recall_lengths: use data=recall, or leave it out")

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, once training is over."""
        if not is_last(trainer):
            return
        assert isinstance(pl_module, Task)
        rows = [self._measure(pl_module, length) for length in self.lengths]
        for row in rows:
            for name in ("accuracy", "entropy"):
                pl_module.final[f"val/{name}_n{row['length']}"] = row[name]
        log = torch.tensor(self.lengths, dtype=torch.float64).log()
        entropy = torch.tensor([row["entropy"] for row in rows], dtype=torch.float64)
        log = log - log.mean()
        pl_module.final["val/entropy_slope"] = float((log * entropy).sum() / log.square().sum())
        pl_module.tables.pop("recall", None)
        pl_module.record_rows("recall", rows)

    def _measure(self, task: Task, length: int) -> dict[str, float]:
        data = copy.copy(task.data)
        assert isinstance(data, Recall)
        data.length, data.seed = length, data.seed + length
        size = max(self.batch_keys // length, 1)
        right, entropy = 0.0, 0.0
        for start in range(0, self.texts, size):
            numbers = range(start, min(start + size, self.texts))
            batch = task.received(data.collate([{"index": number} for number in numbers]))
            x, label = batch["x"], batch["label"]
            if start == 0:  # the entropy needs all weights, a few texts will do
                with watch(task.model) as stats:
                    task.model(x[: max(size // 16, 1)])
                entropy = stats.metrics()["attention_entropy"]
            right += float((task.normalizer.best(task.model(x)) == label).sum())
        return {"length": length, "accuracy": right / self.texts, "entropy": entropy}
