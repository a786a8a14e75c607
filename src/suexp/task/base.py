"""The contract of every task that trains."""

import functools
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from suexp.component import Component
from suexp.data.base import Data
from suexp.nn.param_groups import build_optimizer


class Task(pl.LightningModule, Component):
    """What is learned: joins a model, a loss, an optimizer and a scheduler, and names none of them.

    Attributes:
        tables: long-form rows by table name (see `record_rows`); they end in the run's table.jsonl.
        final: further final metrics that a task or callback wants in the run's summary.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        optimizer: "functools.partial[torch.optim.Optimizer]",
        scheduler: "functools.partial[Any]",
        data: Data,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.data = data
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.final: dict[str, float] = {}
        self._optimizer = optimizer
        self._scheduler = scheduler

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the model's constructor arguments that only the data knows."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        """Build the optimizer over parameter groups by kind, and its schedule over all steps."""
        optimizer = build_optimizer(self._optimizer, self.model)
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = self._scheduler(optimizer=optimizer, total_steps=max(total, 1))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def record_rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Keep rows for the run's table.jsonl: plain numbers, strings and booleans only."""
        self.tables.setdefault(table, []).extend(rows)

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scalar training loss of a batch; probes call it too."""
        raise NotImplementedError

    def finish(self) -> str | None:
        """Return a piece of generated output to show at the end, where the task has any."""
        return None

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss; the runner's recorder writes it down."""
        del batch_idx
        return self.objective(batch)
