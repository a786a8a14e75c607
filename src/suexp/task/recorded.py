"""What every task leaves behind, whether it trains or estimates."""

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytorch_lightning as pl
from torch import Tensor
from torchmetrics import Metric

from suexp.component import Component


class Recorded(pl.LightningModule, Component):
    """A LightningModule whose rows and final figures end in the run folder.

    Attributes:
        tables: long-form rows by table name (see `record_rows`), for table.jsonl.
        final: final metrics beside those that were logged, for summary.json.
        generated: a piece of generated output to show at the end, where the task has any.
        reads_all_rows: whether an epoch includes the rows of an incomplete last batch.
        batches_per_step: batches whose gradients are accumulated.
    """

    reads_all_rows: ClassVar[bool] = False
    batches_per_step: int = 1

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.final: dict[str, float] = {}
        self.generated: str | None = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Leave metrics in float32 where a run has 16 bits: in bfloat16 a count ends at 256."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for module in self.modules():
            if isinstance(module, Metric):
                module._apply(_in_full)
        return self

    def record_rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Keep rows for the run's table.jsonl: plain numbers, strings and booleans only."""
        self.tables.setdefault(table, []).extend(rows)

    def recorded(self) -> str:
        """Return all of this as text: a checkpoint holds it, so that a resumed run keeps it."""
        return json.dumps({"tables": self.tables, "final": self.final, "generated": self.generated})

    def restore(self, recorded: str) -> None:
        """Go on from what `recorded` returned."""
        vars(self).update(json.loads(recorded))

    def trainer_settings(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Return the Trainer's arguments, given those that the config chose.

        Raises:
            UserError: it cannot work with them.
        """
        return chosen

    def finish(self) -> str | None:
        """Record what is left to record, once all is measured; return what was generated."""
        return self.generated


def _in_full(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() and x.itemsize < 4 else x
