"""The rows of views that begin anew when an interrupted run goes on."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from suexp.store.folder import read_history


class Rows:
    """Gives each row to be written, before the first one those that metrics.jsonl holds already.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begun = False

    def until(
        self, metrics: Mapping[str, float], step: int | None
    ) -> Iterator[tuple[int, Mapping[str, float]]]:
        """Give (step, metrics) of what is not written yet, this row last."""
        step = step or 0
        metrics = {name: value for name, value in metrics.items() if name != "epoch"}
        if not self._begun:
            self._begun = True
            yield from self._earlier(metrics, step)
        yield step, metrics

    def _earlier(
        self, metrics: Mapping[str, float], step: int
    ) -> Iterator[tuple[int, Mapping[str, float]]]:
        """Leave out what the row holds itself, and later steps: they are trained once more."""
        for line in read_history(self._folder / "metrics.jsonl"):
            at = line.pop("step")
            if at > step:
                return
            found = {k: float(v) for k, v in line.items() if at < step or k not in metrics}
            if found:
                yield at, found
