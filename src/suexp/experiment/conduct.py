"""Make the planned runs, judge the claims and write the report."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from suexp.errors import writing
from suexp.experiment.plan import Plan, Planned, choose, plan
from suexp.judge.claims import check_metrics
from suexp.launch.processes import tell
from suexp.redaction import without_secrets
from suexp.store.folder import refuse_links, write_atomic


def conduct(arguments: Sequence[str], launcher: Any) -> int:
    """Run everything that a command line asks for; return how many runs did not finish.

    What came out is read from the store, never from a launcher's memory, and is reported also when
    a run failed or Ctrl-C ended the sweep.

    Args:
        arguments: overrides.
        launcher: a Hydra launcher, set up.
    """
    plans = plan(arguments)  # all of them first: a mistake is found before anything runs
    unfinished = 0
    for item in plans:
        if item.header is None:
            continue
        unfinished += _experiment(item, launcher)
    plain = [planned for item in plans if item.header is None for planned in item.runs()]
    if plain:
        launcher.launch([planned.overrides for planned in plain], 0)
        unfinished += _close(plain)
    return unfinished


def _experiment(item: Plan, launcher: Any) -> int:
    import json

    from suexp.experiment.gather import collect

    assert item.header is not None
    tuning = item.tuning()
    jobs = 0
    folder = Path(item.out) / str(item.slug) / item.folder_name
    try:
        if tuning:
            batch = [run for runs in tuning.values() for run in runs.values()]
            tell(f"{item.slug}: {len(batch)} runs to tune {item.header['tune']['parameter']}")
            launcher.launch([planned.overrides for planned in batch], jobs)
            jobs += len(batch)
            item.chosen.update(choose(item, lambda run: _metric(item, run)))
        runs = item.runs()
        tell(f"{item.slug}: {len(runs)} runs ({item.scale} scale)")
        launcher.launch([planned.overrides for planned in runs], jobs)
    finally:
        from suexp.report.pages import write_report

        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            refuse_links(folder)
            results = without_secrets(collect(item, folder))
        results["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomic(folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False))
        write_report(results, folder)
    from suexp.experiment.terminal import verdicts

    verdicts(results, folder)
    logger = (runs[0].config.get("logger") or {}).get("wandb")
    if logger:
        from suexp.report.wandb_run import record

        record(results, folder, logger)
    check_metrics(item.header.get("claims") or {}, results["runs"], item.scale)
    return sum(run["status"] != "finished" for run in results["runs"])


def _metric(item: Plan, planned: Planned) -> float | None:
    summary = planned.run.summary()
    assert item.header is not None
    if summary is None or not summary.finished:
        return None
    value = summary.metrics.get(item.header["tune"]["metric"])
    return value if isinstance(value, (int, float)) else None


def _close(runs: Sequence[Planned]) -> int:
    from suexp.experiment.terminal import sweep_table

    rows = [(planned, planned.run.summary()) for planned in runs]
    sweep_table(rows)
    return sum(summary is None or not summary.finished for _, summary in rows)
