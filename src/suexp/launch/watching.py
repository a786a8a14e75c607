"""What is said while runs go on, and who hears that one has ended."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from suexp.store.spec import RunSpec
from suexp.store.summary import Summary


def tell(message: str) -> None:
    """Say something about the runs' progress."""
    print(message, file=sys.stderr, flush=True)


def describe(spec: RunSpec, summary: Summary | None, seconds: float) -> str:
    """Return a line on how a run ended."""
    if summary is None:
        return f"{spec.label}: died (its process was killed)"
    if not summary.finished:
        return f"{spec.label}: {summary.status}: {summary.error}"
    metrics = summary.metrics
    shown = [key for key in metrics if key.startswith(("val/", "test/"))][:2]
    figures = ", ".join(f"{key} {metrics[key]:.4g}" for key in shown)
    if summary.diverged_at is not None:
        figures = f"diverged at step {summary.diverged_at}"
    return f"{spec.label}: {figures} ({seconds:.1f} s)"


class Watcher:
    """Hears of runs, some at a time from threads of their own; this one says a line of each."""

    def begins(self, specs: Sequence[RunSpec], apart: bool) -> None:
        """Hear what will be run.

        Args:
            specs: the runs that are not finished.
            apart: whether in other processes; here a run has a bar of its own.
        """

    def ended(self, spec: RunSpec, summary: Summary | None, seconds: float) -> None:
        """Hear that a run has come to an end, whatever it is."""
        tell(describe(spec, summary, seconds))


_watcher = Watcher()


def watcher() -> Watcher:
    """Return who hears of runs now."""
    return _watcher


@contextmanager
def watched_by(other: Watcher) -> Iterator[None]:
    """Let another hear of the runs for a while."""
    global _watcher
    before, _watcher = _watcher, other
    try:
        yield
    finally:
        _watcher = before
