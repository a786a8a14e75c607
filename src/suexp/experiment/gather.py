"""Gather an experiment's runs from the store into one results object."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from suexp.config.overrides import key_of
from suexp.experiment.levels import levels
from suexp.experiment.plan import Plan, Planned
from suexp.experiment.provisional import provisional
from suexp.experiment.tuning import on_edge
from suexp.judge.claims import judge
from suexp.judge.expression import At, Extreme, First, Mean, Metric
from suexp.judge.grammar import parse
from suexp.report.figures import draw
from suexp.report.older import SCHEMA
from suexp.store.identity import volatile
from suexp.store.summary import Status, Summary

Along = At | First | Mean


def judged(plan: Plan, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a record of each claim, from the runs that there are."""
    assert plan.header is not None
    return judge(plan.header.get("claims") or {}, entries, plan.scale, plan.seeding)


def entries(
    plan: Plan,
    runs: Sequence[Planned] | None = None,
    known: dict[str, dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return the runs as results.json has them.

    Args:
        plan: the experiment.
        runs: some of its runs; None: all.
        known: entries of runs that have ended, by arm and seed; those of others are added.
    """
    assert plan.header is not None
    asked = _asked(plan.header.get("claims") or {})
    known = {} if known is None else known
    found = []
    for planned in plan.runs() if runs is None else runs:
        key = f"{planned.arm} {planned.seed}"
        entry = known[key] if key in known else _entry(planned, *asked)
        if entry["status"] != Status.FINISHED and planned.run.id in plan.record:
            entry = plan.record[planned.run.id] | {"arm": planned.arm, "recorded": True}
        if entry["status"] != Status.INTERRUPTED:
            known[key] = entry
        found.append(entry)
    return found


def _asked(claims: Mapping[str, Any]) -> tuple[dict[str, Along], set[str]]:
    """Return what claims read beside final metrics: along the training, and of configs."""
    leaves = [leaf for claim in claims.values() for leaf in parse(str(claim["test"])).leaves]
    along = {leaf.name: leaf.along for leaf in leaves if isinstance(leaf, Metric) and leaf.along}
    return along, {leaf.key for leaf in leaves if isinstance(leaf, Extreme)}


def collect(
    plan: Plan,
    folder: Path,
    planned: Sequence[Planned] | None = None,
    partial: Mapping[str, Any] | None = None,
    known: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return what results.json holds: runs, tuning, verdicts, figures, and where they come from.

    Args:
        plan: the experiment, its tuned values chosen.
        folder: where figures/ is written.
        planned: the runs that have ended; None: all.
        partial: how far the experiment is (done, of, seconds, running), where it is not at its end;
            claims are then judged on what there is, and while it is running no figure is drawn.
        known: see `entries`.
    """
    header = plan.header
    assert header is not None
    planned = plan.runs() if planned is None else planned
    runs = entries(plan, planned, known)
    claims = header.get("claims") or {}
    if partial is not None:
        arms = {arm: plan.seeds_of(arm) for arm in header["arms"]}
        records = provisional(claims, runs, plan.scale, plan.seeding, arms)
    else:
        records = judged(plan, runs)
    summaries = [found for item in planned if (found := item.run.summary())]
    first = next(iter(summaries), None)
    results: dict[str, Any] = {
        "schema": SCHEMA,
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
        "seeding": str(plan.seeding),
        "peeked": peeked(plan, folder),
        "added": plan.added and plan.added.arm,
        "tuning": _tuning(plan),
        "runs": runs,
        "claims": records,
        "levels": levels(header.get("expect") or {}, runs),
    }
    if partial is not None:
        results["partial"] = dict(partial)
        if partial["running"]:
            return results | {"figures": []}
    results["figures"] = draw(header.get("figures") or {}, results, Path(plan.out) / "runs", folder)
    return results


def peeked(plan: Plan, folder: Path) -> list[str]:
    """Return with what other seeds the same experiment was looked at before.

    Intervals are valid together for the looks of one plan; whoever looks, and then takes other
    seeds, errs more often than they say.
    """
    found: dict[str, None] = {}
    for path in sorted(folder.parent.glob("*/results.json")):
        try:
            known = json.loads(path.read_bytes())
            if known["scale"] != plan.scale or _changes(known["command"]) != _changes(plan.command):
                continue
            seeding = known.get("seeding", ", ".join(map(str, known["seeds"])))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # not ours, or broken: `suexp report` says so
        found |= dict.fromkeys([*known.get("peeked", []), seeding])
    return [seeding for seeding in found if seeding != str(plan.seeding)]


def _changes(command: str) -> list[str]:
    """Return the overrides of a command that change more than seeds and what is told."""
    keys = ((item, key_of(item)) for item in command.split()[1:])
    quiet = ("seed", "seeds", "only")
    return sorted(i for i, key in keys if key.split(".")[0] not in quiet and not volatile(key))


def mixed(summaries: Sequence[Summary]) -> dict[str, list[str]]:
    """Return in what the runs differ that may change last bits: versions, threads, processors."""
    found: dict[str, dict[str, None]] = {}
    for summary in summaries:
        facts = {**summary.versions, "threads": summary.threads, "cpu": summary.machine.get("cpu")}
        for name, value in facts.items():
            found.setdefault(name, {})[str(value)] = None
    return {name: [*values] for name, values in found.items() if len(values) > 1}


def _along(history: Sequence[dict[str, Any]], wanted: Mapping[str, Along]) -> dict[str, float]:
    """Return what claims read along a run's training, by their names for it."""
    found = {}
    for name, along in wanted.items():
        logged = [(row["step"], row[along.metric]) for row in history if along.metric in row]
        value = along.of(sorted(logged))
        if value is not None:
            found[name] = value
    return found


def _entry(planned: Planned, along: Mapping[str, Along], keys: Collection[str]) -> dict[str, Any]:
    run = planned.run
    summary = run.summary() or Summary(
        run.folder, run.id, Status.INTERRUPTED, "has not been run to its end"
    )
    finished = summary.finished
    early = _along(run.history(), along) if along and finished else {}
    entry = {
        "id": run.id,
        "arm": planned.arm,
        "seed": planned.seed,
        "status": summary.status,
        "error": summary.error,
        "overrides": list(planned.overrides),
        "metrics": summary.metrics | early if finished else {},
        "tables": run.tables() if finished else {},
        "cost": summary.cost,
        "dirty": summary.dirty,
        "commit": summary.commit,
    }
    config = run.config
    if keys:
        entry["settings"] = {key: _at(config, key.split("/")) for key in sorted(keys)}
    judging = summary.rows.get("test") or summary.rows.get("validation")
    if "split_seed" in config["data"] and judging and summary.rows.get("train"):
        split = {"seed": config["data"]["split_seed"], "train": summary.rows["train"]}
        entry["split"] = {**split, "judge": judging}
    return entry


def _at(node: Any, keys: Sequence[str]) -> Any:
    """Return what stands in a config under keys, one below the other."""
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


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
    edge = {}
    for arm, chosen in plan.chosen.items():
        if keys := on_edge(plan.points(arm), plan.point_of(arm, chosen)):
            edge[arm] = keys
    return {
        "parameter": tune["parameter"],
        "seed": tune["seed"],
        "metric": tune["metric"],
        "mode": tune.get("mode", "min"),
        "grid": table,
        "chosen": plan.chosen,
        "edge": edge,
        "unequal": tune.get("unequal"),
        "apart": [arm for arm in grid if arm in tune["apart"]],
    }
