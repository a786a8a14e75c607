"""Make the planned runs, judge the claims and write the report."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from suexp.experiment.before import before
from suexp.experiment.earlier import earlier
from suexp.experiment.outcome import Experiment
from suexp.experiment.plan import Plan, Planned, choose, plan
from suexp.experiment.watch import Watch
from suexp.judge.claims import check_metrics
from suexp.launch.watching import tell
from suexp.report.wording import total_seconds
from suexp.store.summary import Summary


class Sweep(NamedTuple):
    """What came out of a plain sweep.

    Attributes:
        runs: each with its summary; None: it never wrote one.
        folder: where the report lies; None: a single run has none.
    """

    runs: list[tuple[Planned, Summary | None]]
    folder: Path | None


def conduct(arguments: Sequence[str], launcher: Any) -> int:
    """Run everything that a command line asks for, and show what came out.

    Args:
        arguments: overrides.
        launcher: a Hydra launcher, set up.

    Returns:
        How many runs did not finish.
    """
    from suexp.experiment.terminal import beside_the_baseline, sweep_table, verdicts, where

    unfinished = 0
    for made in outcomes(arguments, launcher):
        if isinstance(made, Experiment):
            verdicts(made.results, made.folder)
            if made.results["added"]:
                beside_the_baseline(made.results)
            unfinished += made.unfinished
        else:
            sweep_table(made.runs)
            if made.folder is not None:
                where(made.folder)
            unfinished += sum(summary is None or not summary.finished for _, summary in made.runs)
    return unfinished


def outcomes(arguments: Sequence[str], launcher: Any) -> Iterator[Experiment | Sweep]:
    """Run everything that a command line asks for, and give what came out of it.

    It is read from the store, never from a launcher's memory, and is reported also when a run
    failed or Ctrl-C ended the sweep.

    Args:
        arguments: overrides.
        launcher: a Hydra launcher, set up.

    Yields:
        Each experiment once it is judged; then the plain sweep.
    """
    plans = plan(arguments)  # all of them first: a mistake is found before anything runs
    for item in plans:
        if item.header is None:
            continue
        made = _experiment(item, launcher)
        yield made
        _conclude(item, made)
    bare = [item for item in plans if item.header is None]
    runs = [planned for item in bare for planned in item.runs()]
    if runs:
        launcher.launch([planned.overrides for planned in runs], 0)
        from suexp.experiment.sweep import report

        rows = [(planned, planned.run.summary()) for planned in runs]
        yield Sweep(rows, report(bare, rows, arguments))


def _experiment(item: Plan, launcher: Any) -> Experiment:
    assert item.header is not None
    folder = Path(item.out) / str(item.slug) / item.folder_name
    watch = _watch(item, launcher, folder)
    stopped = True
    try:
        jobs = _tune(item, launcher, watch) if item.header["tune"] else 0
        _until_decided(item, launcher, jobs, watch)
        stopped = False
    finally:
        results = _write(item, folder, watch.partial(running=False) if stopped else None)
    return Experiment(results, folder)


def _conclude(item: Plan, made: Experiment) -> None:
    """Record an experiment where its runs are, and refuse claims on what no run has measured."""
    assert item.header is not None
    logger = (item.runs()[0].config.get("logger") or {}).get("wandb")
    if logger:
        from suexp.report.wandb_run import record

        record(made.results, made.folder, logger)
    check_metrics(item.header.get("claims") or {}, made.runs, item.scale)


def _watch(item: Plan, launcher: Any, folder: Path) -> Watch:
    """Return what shows how far the experiment is, and keeps its page up to date meanwhile."""
    known: dict[str, dict[str, Any]] = {}

    def look(planned: Sequence[Planned], partial: dict[str, Any]) -> list[dict[str, Any]]:
        results = _write(item, folder, partial, planned, known)
        claims: list[dict[str, Any]] = results["claims"]
        return claims

    at_a_time = getattr(launcher, "at_a_time", None)
    jobs = at_a_time(item.runs()[0].config) if at_a_time else 1
    return Watch(item, jobs, earlier(item, folder), look)


def _write(
    item: Plan,
    folder: Path,
    partial: dict[str, Any] | None = None,
    planned: Sequence[Planned] | None = None,
    known: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write the report, and results.json unless runs go on; return what it holds."""
    from suexp.experiment.written import write  # imports what draws

    assert item.header is not None
    if partial is not None and item.header["tune"] and not item.chosen:
        planned = []  # the arms' values are not known yet
    return write(item, folder, planned, partial, known)


def _tune(item: Plan, launcher: Any, watch: Watch) -> int:
    """Choose each arm's value; grids go on where the best is their last. Count the runs."""
    assert item.header is not None
    made: set[tuple[str, ...]] = set()

    def metric_of(run: Planned) -> float | None:
        return _metric(item, run)

    more = True
    while more:
        batch = [run for runs in item.tuning().values() for run in runs.values()]
        fresh = [run for run in batch if run.overrides not in made]
        beyond = "beyond the grids, " if made else ""
        watch.announce(f"{beyond}to tune {item.header['tune']['parameter']}", fresh)
        with watch.over(fresh):
            launcher.launch([planned.overrides for planned in fresh], len(made))
        made |= {planned.overrides for planned in fresh}
        more = item.reach(metric_of)
    item.chosen.update(choose(item, metric_of))
    return len(made)


def _until_decided(item: Plan, launcher: Any, jobs: int, watch: Watch) -> None:
    """Make the runs of the first look, then those that open claims ask for, look by look."""
    made = _from_record(item)
    taken = len(made)
    planned = item.runs()
    while fresh := [run for run in planned if run.overrides not in made]:
        what = f"at {item.scale} scale"
        if len(made) > taken:
            what = f"more, for claims that are open: {_asked(item)}"
        watch.announce(what, fresh, more=_most(item))
        with watch.over(planned):
            launcher.launch([run.overrides for run in fresh], jobs + len(made))
        if len(made) == taken:
            _tell_levels(item)
        made |= {run.overrides for run in fresh}
        for arm, seeds in _further(item).items():
            item.asked[arm] = max(seeds, item.asked.get(arm, 0))
        planned = item.runs()


def _from_record(item: Plan) -> set[tuple[str, ...]]:
    """Return the runs that the record of an experiment has, and say which must be made anew."""
    if item.added is None:
        return set()
    known = {run.overrides: run.run.id in item.record for run in item.runs() if run.arm}
    old = [run for run in item.runs() if run.arm != item.added.arm]
    taken = sum(known[run.overrides] for run in old)
    anew = "" if taken == len(old) else "; code, data or scale of the others differ: they are made"
    tell(f"{item.slug}: {taken} of {len(old)} runs beside {item.added.arm} are the record's{anew}")
    return {overrides for overrides, there in known.items() if there}


def _most(item: Plan) -> str:
    """Return how far an experiment may go that adds seeds until it is decided."""
    if len(item.seeding.looks) == 1 or item.asked:
        return ""
    bound = item.seeding.at_most
    return f"; then more seeds, {f'{bound} at most, ' if bound else ''}until the claims are decided"


def _tell_levels(item: Plan) -> None:
    """Say which arms are far from the level that is expected of them; smoke scale reaches none."""
    from suexp.experiment.gather import entries
    from suexp.experiment.levels import levels, missed

    assert item.header is not None
    if item.header["expect"] and item.scale != "smoke":
        for line in missed(levels(item.header["expect"], entries(item))):
            tell(f"{item.slug}: {line}")


def _asked(item: Plan) -> str:
    """Return in words how many seeds arms have."""
    counts = sorted({*item.asked.values()})
    return "; ".join(
        f"{n} seeds of {', '.join(arm for arm, asked in item.asked.items() if asked == n)}"
        for n in counts
    )


def _further(item: Plan) -> dict[str, int]:
    """Return how many seeds the arms of open claims need at the next look; none: no budget."""
    from suexp.experiment.gather import entries, judged

    if len(item.seeding.looks) == 1:
        return {}
    runs = entries(item)
    wanted: dict[str, int] = {}
    for claim in judged(item, runs):
        for arm in (claim.get("next") or {}).get("arms", ()):
            wanted[arm] = max(claim["next"]["look"], wanted.get(arm, 0))
    if item.seeding.budget is None:
        return wanted
    spent, ahead = _seconds(item, runs, wanted)
    if wanted and spent + ahead > item.seeding.budget:
        enough = f"seeds.budget={(spent + ahead) / 60 + 1:.0f}m"
        tell(
            f"{item.slug}: {spent / 60:.1f} minutes of runs are made, the next look takes "
            f"{ahead / 60:.1f}: over the budget; {enough} goes on"
        )
        return {}
    return wanted


def _seconds(
    item: Plan, runs: Sequence[Mapping[str, Any]], wanted: Mapping[str, int]
) -> tuple[float, float]:
    """Return how long the runs took, and how long those of so many seeds of arms will take.

    The runs that they start from count, too. Arms that share a run pay it once.
    """
    times: dict[str, dict[str, float]] = {}
    for run in runs:
        times.setdefault(run["arm"], {})[run["id"]] = run["cost"].get("wall_seconds") or 0.0
    ahead = sum(
        (n - len(times[arm])) * sum(times[arm].values()) / len(times[arm])
        for arm, n in wanted.items()
    )
    there = before(item.runs())
    took = [seconds for seconds in there.values() if seconds is not None]
    more = before(replace(item, asked={**item.asked, **wanted}).runs()).keys() - there.keys()
    return total_seconds(runs) + sum(took), ahead + (len(more) * fmean(took) if took else 0.0)


def _metric(item: Plan, planned: Planned) -> float | None:
    summary = planned.run.summary()
    assert item.header is not None
    if summary is None or not summary.finished:
        return None
    tune = item.header["tune"]
    if summary.diverged_at is not None:  # it loses, whatever its metric
        return math.inf if tune.get("mode", "min") == "min" else -math.inf
    value = summary.metrics.get(tune["metric"])
    return value if isinstance(value, (int, float)) else None
