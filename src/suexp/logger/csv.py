"""Metrics as a table of comma-separated values."""

import csv
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from suexp.logger._run import RunLogger
from suexp.store.folder import read_history


class CSV(RunLogger):
    """metrics.csv in the run folder: a row a step, a column a metric.

    Written from metrics.jsonl whenever a loop ends, so that a resumed run's table is whole (and
    Lightning's own CSV logger, which deletes what it finds, is not).

    Reference: RFC 4180, https://www.rfc-editor.org/rfc/rfc4180.

    Args:
        folder: the run folder; the runner gives it.
    """

    def __init__(self, folder: str | Path, **labels: object) -> None:
        del labels
        super().__init__(folder)

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
