"""Metrics as a table of comma-separated values."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from suexp.runner.store import read_history


class CSV(Logger):
    """metrics.csv in the run folder: a row a step, a column a metric.

    Written from metrics.jsonl whenever a loop ends, so that a resumed run's table is whole (and
    Lightning's own CSV logger, which deletes what it finds, is not).

    Reference: RFC 4180, https://www.rfc-editor.org/rfc/rfc4180.

    Args:
        folder: the run folder; the runner gives it.
    """

    def __init__(self, folder: str | Path, **labels: object) -> None:
        super().__init__()
        del labels
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        """The run's id."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Always empty: the signature is the version."""
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: config.yaml holds the config."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Do nothing: metrics.jsonl is the record."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the table."""
        del status
        history = read_history(self.folder / "metrics.jsonl")
        columns = sorted({name for line in history for name in line} - {"step"})
        with (self.folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", *columns])
            writer.writeheader()
            writer.writerows(history)
