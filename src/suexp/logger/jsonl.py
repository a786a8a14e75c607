"""The run folder's own record: one JSON object a line."""

from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from suexp.errors import writing
from suexp.logger._run import RunLogger
from suexp.store.numbers import dumps


class Jsonl(RunLogger):
    """Append ``{"step": s, name: value, ...}`` to metrics.jsonl, flushed line by line.

    The step belongs to the metric: when a resumed run repeats a step, the later line replaces the
    earlier one for every reader (`suexp.store.folder.read_history`). Infinite and NaN values are
    written as strings, since JSON has no word for them.

    Reference: the format's description, https://jsonlines.org.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self.path = self.folder / "metrics.jsonl"

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one line."""
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        if not values:
            return
        line = dumps({"step": step or 0, **values})
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
