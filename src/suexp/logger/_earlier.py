"""What a run had written before it was interrupted, for views that begin anew."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from suexp.runner.store import read_history


def earlier(
    folder: Path, step: int, without: Iterable[str]
) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Give (step, metrics) of metrics.jsonl up to a step; later ones are trained once more.

    Args:
        folder: the run folder.
        step: the first step that a resumed run writes about.
        without: the metrics that it writes about then, which the file holds already.
    """
    known = set(without)
    for line in read_history(folder / "metrics.jsonl"):
        at = line.pop("step")
        if at > step:
            return
        metrics = {k: float(v) for k, v in line.items() if at < step or k not in known}
        if metrics:
            yield at, metrics
