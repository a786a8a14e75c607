"""Gather an experiment's runs from the store into one results object."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suexp.experiment.plan import Plan, Planned
from suexp.judge.claims import judge
from suexp.judge.grammar import parse
from suexp.report.figures import draw
from suexp.store.summary import Status, Summary


def collect(plan: Plan, folder: Path) -> dict[str, Any]:
    """Return what results.json holds: runs, tuning, verdicts, figures, and where they come from.

    Args:
        plan: the experiment, its tuned values chosen.
        folder: where figures/ is written.
    """
    header = plan.header
    assert header is not None
    early = _early(header.get("claims") or {})
    runs = [_entry(planned, early) for planned in plan.runs()]
    summaries = [found for planned in plan.runs() if (found := planned.run.summary())]
    first = next(iter(summaries), None)
    results: dict[str, Any] = {
        "schema": 1,
        "experiment": plan.slug,
        "post": header["post"],
        "scale": plan.scale,
        "command": plan.command,
        "commit": first and first.commit,
        "dirty": first and first.dirty,
        "versions": first and first.versions,
        "machine": {**first.machine, "threads": first.threads} if first else {"threads": None},
        "mixed": mixed(summaries),
        "arms": header["arms"],
        "seeds": list(plan.seeds),
        "tuning": _tuning(plan),
        "runs": runs,
        "claims": judge(header.get("claims") or {}, runs, plan.scale),
    }
    results["figures"] = draw(header.get("figures") or {}, results, Path(plan.out) / "runs", folder)
    return results


def mixed(summaries: Sequence[Summary]) -> dict[str, list[str]]:
    """Return in what the runs differ that may change last bits: versions, threads, processors."""
    found: dict[str, dict[str, None]] = {}
    for summary in summaries:
        facts = {**summary.versions, "threads": summary.threads, "cpu": summary.machine.get("cpu")}
        for name, value in facts.items():
            found.setdefault(name, {})[str(value)] = None
    return {name: [*values] for name, values in found.items() if len(values) > 1}


def _early(claims: dict[str, dict[str, Any]]) -> list[str]:
    """Return the metrics of claims that name a step: ``val/loss@100``."""
    metrics = {name for claim in claims.values() for name in parse(str(claim["test"])).metrics}
    return sorted(name for name in metrics if "@" in name)


def _by_step(history: list[dict[str, Any]], names: list[str]) -> dict[str, float]:
    """Return what a run had last logged under each name by the step after its ``@``."""
    found = {}
    for name in names:
        metric, _, step = name.rpartition("@")
        lines = [line for line in history if metric in line and line["step"] <= int(step)]
        if lines:
            found[name] = max(lines, key=lambda line: line["step"])[metric]
    return found


def _entry(planned: Planned, early: list[str]) -> dict[str, Any]:
    run = planned.run
    summary = run.summary() or Summary(
        run.folder, run.id, Status.INTERRUPTED, "has not been run to its end"
    )
    finished = summary.finished
    early_metrics = _by_step(run.history(), early) if early and finished else {}
    return {
        "id": run.id,
        "arm": planned.arm,
        "seed": planned.seed,
        "status": summary.status,
        "error": summary.error,
        "overrides": list(planned.overrides),
        "metrics": summary.metrics | early_metrics if finished else {},
        "tables": run.tables() if finished else {},
        "cost": summary.cost,
        "dirty": summary.dirty,
        "commit": summary.commit,
    }


def _tuning(plan: Plan) -> dict[str, Any] | None:
    grid = plan.tuning()
    if not grid:
        return None
    assert plan.header is not None
    tune = plan.header["tune"]
    table: dict[str, list[dict[str, Any]]] = {}
    for arm, runs in grid.items():
        table[arm] = []
        for value, planned in runs.items():
            summary = planned.run.summary()
            metric = summary.metrics.get(tune["metric"]) if summary else None
            table[arm].append({"value": value, "metric": metric, "run": planned.run.id})
    return {
        "parameter": tune["parameter"],
        "seed": tune["seed"],
        "metric": tune["metric"],
        "mode": tune.get("mode", "min"),
        "grid": table,
        "chosen": plan.chosen,
    }
