"""What is seen while an experiment's runs are made: how long, how far, and what they say so far."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from suexp.experiment.before import before
from suexp.experiment.plan import Plan, Planned
from suexp.launch.watching import Watcher, describe, tell, watched_by
from suexp.report.wording import duration
from suexp.store.spec import RunSpec
from suexp.store.summary import Summary

EVERY = 3.0  # seconds between two looks at what is there, or ten times what a look takes
Claims = Sequence[Mapping[str, Any]]


class Watch(Watcher):
    """Counts the runs of an experiment as they end, and looks now and then at what they say.

    On a terminal there is a bar; elsewhere, and where a run in this process has a bar of its own, a
    line a run.

    Args:
        item: the experiment.
        jobs: runs at a time.
        times: arm -> seconds of a run, where that is known from earlier ones.
        look: writes the page of what is there; returns the claims' records.
    """

    def __init__(
        self,
        item: Plan,
        jobs: int,
        times: Mapping[str, float],
        look: Callable[[Sequence[Planned], dict[str, Any]], Claims],
    ) -> None:
        self.item, self.jobs, self._look = item, max(jobs, 1), look
        self._known, self._made = dict(times), dict[str, list[float]]()
        self._lock = threading.Lock()
        self._planned: Sequence[Planned] = ()
        self._all = 0  # runs; arms may share one
        self._there: set[str] = set()
        self._left: dict[str, Planned] = {}  # those that have not ended
        self._verdicts: dict[str, str] = {}
        self._next_look = 0.0
        self._over_at: float | None = None
        self._bar: RichProgress | None = None
        self._console = Console(stderr=True)

    def announce(self, what: str, runs: Sequence[Planned], *, more: str = "") -> None:
        """Say what runs are to be made, and about how long they take."""
        known = {run.run.id: run for run in runs}
        todo = [run for run in known.values() if not _ended(run)]
        there = f" ({len(known) - len(todo)} more are there)" if len(todo) < len(known) else ""
        seconds = self._seconds(todo, [*known.values()])
        if not todo:
            time_ = ""
        elif seconds is None:
            time_ = "; how long they take is known when the first has ended"
        else:
            beside = f", {self.jobs} at a time" if self.jobs > 1 else ""
            time_ = f"; about {duration(seconds)}{beside}"
        count = f"{len(todo)} run{'s' * (len(todo) != 1)}"
        tell(f"{self.item.slug}: {count}{there} {what}{time_}{more}")

    def _seconds(self, left: Sequence[Planned], runs: Sequence[Planned]) -> float | None:
        """Return how long these of all the runs take in all; None: that is not known."""
        known = {**self._known, **{arm: fmean(times) for arm, times in self._made.items()}}
        if not known:
            return None
        mean = fmean(known.values())
        own = sum(known.get(str(run.arm), mean) for run in left)
        return (own + self._before(left, runs)) / self.jobs

    def _before(self, left: Sequence[Planned], runs: Sequence[Planned]) -> float:
        """Return how long the runs take that these start from, as far as one such has ended."""
        times = before(runs)
        took = [seconds for seconds in times.values() if seconds is not None]
        needed = {id_ for run in left for id_ in run.run.spec.ancestors()}
        waiting = [id_ for id_, seconds in times.items() if seconds is None and id_ in needed]
        return len(waiting) * fmean(took) if took else 0.0

    @contextmanager
    def over(self, runs: Sequence[Planned]) -> Iterator[None]:
        """Watch these runs being made."""
        self._planned = runs
        known = {run.run.id: run for run in runs}
        self._there |= {run.run.id for run in runs if _ended(run)}
        self._left = {id_: run for id_, run in known.items() if id_ not in self._there}
        self._all = len(known)
        self._estimate()
        if self._left:
            self._take_a_look()
        try:
            with watched_by(self):
                yield
        finally:
            self._take_down()

    def begins(self, specs: Sequence[RunSpec], apart: bool) -> None:
        """Put up the bar, where runs have none of their own."""
        if not specs or not apart or not self._console.is_terminal:
            return
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[found]}"),
            console=self._console,
            transient=True,
            refresh_per_second=2,
        )
        self._bar.add_task(str(self.item.slug), total=self._all, left="", found="")
        self._redraw()
        self._bar.start()

    def ended(self, spec: RunSpec, summary: Summary | None, seconds: float) -> None:
        """Count the run; now and then, look at what is there."""
        with self._lock:
            run = self._left.pop(spec.id, None)
            if summary is not None and summary.finished and run is not None:
                self._made.setdefault(str(run.arm), []).append(summary.cost["wall_seconds"])
            self._there.add(spec.id)
            self._estimate()
            bad = summary is None or not summary.finished or summary.diverged_at is not None
            news = self._take_a_look() if time.monotonic() >= self._next_look else ""
            line = describe(spec, summary, seconds) if bad else f"{spec.label} ({seconds:.1f} s)"
            if self._bar is None:
                tell(f"{line}; {self._far()}{news}")
            elif bad or news:
                tell(f"{line}{news}")
            self._redraw()

    def partial(self, running: bool) -> dict[str, Any]:
        """Return how far the experiment is, for results.json."""
        return {
            "done": self._all - len(self._left),
            "of": self._all,
            "seconds": self._time_left(),
            "running": running,
        }

    def _far(self) -> str:
        """Return how many runs are there, and how long the others take."""
        left = self._time_left()
        time_ = "" if left is None or not self._left else f", about {duration(left)} left"
        return f"{self._all - len(self._left)} of {self._all}{time_}"

    def _estimate(self) -> None:
        seconds = self._seconds([*self._left.values()], self._planned)
        self._over_at = None if seconds is None else time.monotonic() + seconds

    def _time_left(self) -> float | None:
        return None if self._over_at is None else max(self._over_at - time.monotonic(), 0.0)

    def _take_a_look(self) -> str:
        """Have the page written; return which verdicts are new, as the end of a line.

        Nothing that goes wrong with a look may stop the runs.
        """
        began = time.monotonic()
        there = [run for run in self._planned if run.run.id in self._there]
        try:
            records = self._look(there, self.partial(running=True))
        except Exception as error:
            self._next_look = float("inf")
            return f" (what is there cannot be shown: {type(error).__name__})"
        now = time.monotonic()
        first = self._next_look == 0  # which imports what the others have
        self._next_look = now + (EVERY if first else max(EVERY, 10 * (now - began)))
        before, self._verdicts = (
            self._verdicts,
            {str(record["id"]): _word(record) for record in records},
        )
        news = [f"{name} {v}" for name, v in self._verdicts.items() if before.get(name) != v and v]
        return f"; so far {', '.join(news)}" if news else ""

    def _redraw(self) -> None:
        if self._bar is None:
            return
        (task,) = self._bar.task_ids
        left = self._time_left()
        counts: dict[str, int] = {}
        for verdict in filter(None, self._verdicts.values()):
            word = verdict.partition(" (")[0]
            counts[word] = counts.get(word, 0) + 1
        self._bar.update(
            task,
            completed=self._all - len(self._left),
            left="" if left is None else f"{duration(left)} left",
            found=", ".join(f"{count} {word}" for word, count in counts.items()),
        )

    def _take_down(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _ended(run: Planned) -> bool:
    """Tell whether a run has nothing left to do."""
    summary = run.run.summary()
    return not run.run.spec.rerun and summary is not None and summary.finished


def _word(record: Mapping[str, Any]) -> str:
    """Return a claim's verdict in a word or two; nothing where there is none yet."""
    verdict = str(record["verdict"])
    if verdict in ("undecided", "not evaluated"):
        return ""
    if not record.get("provisional"):
        return verdict
    return f"{verdict} ({record['n']} seeds)" if record["n"] > 1 else ""
