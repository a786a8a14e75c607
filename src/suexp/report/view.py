"""What a report shows of results.json, before it is known whether as Markdown or as HTML."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from suexp.errors import UserError
from suexp.judge.claims import VERDICTS
from suexp.judge.grammar import parse
from suexp.judge.intervals import mean_interval
from suexp.report import wording as readable
from suexp.report.found import Doubt, Found, doubts, found
from suexp.report.lineage import Graph, graph
from suexp.report.pictures import pictures
from suexp.report.scene import EDGE, edge_arms
from suexp.report.verdicts import Judged, diverged, judged
from suexp.store.summary import diverged_at, finals

REFRESH = 5  # seconds between two looks at the page of an experiment that goes on
COSTS = {
    "parameters": ("parameters", readable.count),
    "parameters/trainable": ("trained", readable.count),
    "flops_per_step": ("FLOPs a step", readable.count),
    "steps": ("steps", readable.count),
    "flops": ("FLOPs in all", readable.count),
    "wall_seconds": ("time a run", readable.duration),
    "peak_memory_bytes": ("peak memory", readable.size),
}


@dataclass(frozen=True)
class Table:
    """Heads and rows of cells, the first of each row being its name."""

    heads: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class RealRun:
    """A run on data that is not shipped, or an experiment: then it has claims."""

    title: str
    source: str
    values: str
    claims: list[Judged]
    cost: str
    command: str


@dataclass(frozen=True)
class View:
    """Everything that the templates print."""

    name: str
    title: str
    title_zh: str | None
    url: str | None
    date: str | None
    paper: str | None
    claim: str | None
    limits: list[str]
    scale: str
    command: str
    created: str
    commit: str | None
    dirty: bool
    mixed: list[str]
    seeds: str
    peeked: list[str]
    facts: list[tuple[str, str]]
    counts: dict[str, int]
    claims: list[Judged]
    found: Found | None
    doubts: list[Doubt]
    pictures: list[dict[str, Any]]
    arms: Table
    metrics: Table
    overrides: dict[str, list[str]]
    lineage: Graph | None
    levels: Table | None
    tuning: Table | None
    tuning_note: str | None
    edge: list[str]
    figures: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    diverged: list[str]
    runs: Table
    real_data: list[RealRun]
    total_time: str
    partial: str | None
    refresh: int | None


def view(results: Mapping[str, Any]) -> View:
    """Collect what is shown; whatever results.json leaves out is left out here too."""
    post = results.get("post") or {}
    arms, runs = list(results["arms"]), list(results["runs"])
    finished = {
        arm: [r for r in runs if r["arm"] == arm and r["status"] == "finished"] for arm in arms
    }
    claims = list(results["claims"])
    told = [judged(claim) for claim in claims]
    counts = Counter(claim["verdict"] for claim in claims)
    failures = [run for run in runs if run["status"] != "finished"]
    tuning, tuning_note, edge = _tuning(results.get("tuning") or {})
    return View(
        name=str(results["experiment"]),
        title=str(post.get("title") or results["experiment"]),
        title_zh=post.get("title_zh"),
        url=post.get("url"),
        date=str(post["date"]) if post.get("date") else None,
        paper=post.get("paper"),
        claim=post.get("claim"),
        limits=[str(limit) for limit in post.get("limits") or []],
        scale=str(results["scale"]),
        command=str(results.get("command") or f"suexp experiment={results['experiment']}"),
        created=_date(str(results.get("created") or "")),
        commit=results.get("commit"),
        mixed=[
            f"{name} {', '.join(values)}" for name, values in (results.get("mixed") or {}).items()
        ],
        dirty=bool(results.get("dirty")) or any(run.get("dirty") for run in runs),
        seeds=str(results.get("seeding") or ", ".join(map(str, results.get("seeds") or []))),
        peeked=[str(seeds) for seeds in results.get("peeked") or []],
        facts=_facts(results),
        counts={verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        claims=told,
        found=found(told, claims) if str(results["scale"]) != "smoke" else None,
        doubts=doubts(told),
        pictures=[picture.as_figure() for picture in pictures(results)],
        arms=_arms(finished, runs, _named_metrics(results), edge),
        metrics=_metrics(finished),
        overrides={arm: list(items) for arm, items in results["arms"].items()},
        lineage=graph(results["arms"]),
        levels=_levels(results.get("levels") or []),
        tuning=tuning,
        tuning_note=tuning_note,
        edge=edge,
        figures=list(results["figures"]),
        failures=failures,
        diverged=diverged(
            [{**run, "step": at} for run in runs if (at := diverged_at(finals(run))) is not None]
        ),
        runs=_runs(runs),
        real_data=[_real(run) for run in results.get("real_data") or []],
        total_time=readable.total_time(runs),
        partial=_partial(results.get("partial") or {}),
        refresh=REFRESH if (results.get("partial") or {}).get("running") else None,
    )


def _partial(partial: Mapping[str, Any]) -> str | None:
    """Return how far an experiment is that is not at its end."""
    if not partial:
        return None
    how = "Runs go on" if partial["running"] else "Partial, the experiment was stopped"
    left = partial.get("seconds")
    time = f", about {readable.duration(left)} left" if left and partial["running"] else ""
    return (
        f"{how}: {partial['done']} of {partial['of']} runs are there{time}. Verdicts that are "
        "provisional are judged on these alone."
    )


def _date(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment:%Y-%m-%d %H:%M}" + (" UTC" if moment.utcoffset() == timedelta(0) else "")


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The small print: machine and versions."""
    machine, versions = results.get("machine") or {}, results.get("versions") or {}
    parts = [str(machine[key]) for key in ("cpu", "gpu") if machine.get(key)]
    parts += [f"{machine[key]} {key}" for key in ("cores", "threads") if machine.get(key)]
    commits = {run["commit"][:12] for run in results["runs"] if run.get("commit")}
    return [
        ("commits of reused runs", ", ".join(sorted(commits)) if len(commits) > 1 else ""),
        ("machine", ", ".join(parts)),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]


def _real(run: Mapping[str, Any]) -> RealRun:
    time = readable.duration(run["wall_seconds"])
    claims = [judged(claim) for claim in run.get("claims") or []]
    cost = f"seeds {run['seeds']}, {time}" if claims else f"{run['steps']} steps, {time}, one run"
    metrics = run.get("metrics") or {}
    return RealRun(
        title=str(run["title"]),
        source=str(run["source"]),
        values=", ".join(f"{name} {readable.number(value)}" for name, value in metrics.items()),
        claims=claims,
        cost=f"{cost}, commit `{str(run['commit'])[:12]}`",
        command=str(run["command"]),
    )


def _named_metrics(results: Mapping[str, Any]) -> list[str]:
    """The metrics that claims speak of, then the tuned one, then at most three to have any."""
    named: dict[str, None] = {}
    for claim in results["claims"]:
        try:
            named |= dict.fromkeys(parse(str(claim["test"])).metrics)
        except UserError:
            continue
    if results.get("tuning"):
        named[str(results["tuning"].get("metric"))] = None
    known = {name for run in results["runs"] for name in run.get("metrics") or {}}
    shown = [name for name in named if name in known]
    return shown or sorted(known)[:3]


def _arms(
    finished: dict[str, list[dict[str, Any]]],
    runs: list[dict[str, Any]],
    metrics: list[str],
    edge: list[str],
) -> Table:
    all_costs = [run.get("cost") or {} for arm in finished.values() for run in arm]
    costs = [key for key in COSTS if any(cost.get(key) for cost in all_costs)]
    if all(cost.get("parameters/trainable") == cost.get("parameters") for cost in all_costs):
        costs = [key for key in costs if key != "parameters/trainable"]  # nothing is frozen
    rows = []
    for arm, members in finished.items():
        total = sum(run["arm"] == arm for run in runs)
        name = f"{arm} {EDGE}" if arm in edge else arm
        cells = [name, f"{len(members)} of {total}" if len(members) < total else str(total)]
        cells += [_mean([finals(run).get(name) for run in members]) for name in metrics]
        for key in costs:
            values = [(run.get("cost") or {}).get(key) for run in members]
            numbers = [value for value in values if value is not None]
            cells.append(COSTS[key][1](sum(numbers) / len(numbers) if numbers else None))
        rows.append(cells)
    return Table(["arm", "runs", *metrics, *(COSTS[key][0] for key in costs)], rows)


def _metrics(finished: dict[str, list[dict[str, Any]]]) -> Table:
    """Every final metric of every arm, one row a metric."""
    names = sorted({name for runs in finished.values() for run in runs for name in run["metrics"]})
    return Table(
        ["metric", *finished],
        [
            [
                name,
                *(_mean([run["metrics"].get(name) for run in runs]) for runs in finished.values()),
            ]
            for name in names
        ],
    )


def _mean(values: list[Any]) -> str:
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers or len(numbers) < len(values):
        return (
            readable.NONE if not numbers else f"{readable.NONE} ({len(numbers)} of {len(values)})"
        )
    if not all(math.isfinite(value) for value in numbers):  # a crossover that some seed never saw
        return readable.number(sum(numbers) / len(numbers))
    estimate = mean_interval([float(value) for value in numbers])
    return readable.plus_minus(estimate.mean, estimate.low, estimate.high)


def _levels(levels: list[Mapping[str, Any]]) -> Table | None:
    """What arms reach beside what is expected of them."""
    rows = [
        [
            str(level["quantity"]),
            f"{readable.number(level['value'])} ± {readable.number(level['tolerance'])}",
            readable.number(level["found"]),
            {True: "reached", False: "far from it", None: readable.NONE}[level["reached"]],
            str(level["source"]),
        ]
        for level in levels
    ]
    return Table(["quantity", "expected", "found", "", "source"], rows) if rows else None


def _tuning(tuning: Mapping[str, Any]) -> tuple[Table | None, str | None, list[str]]:
    """The published grid, the chosen values marked: a row an arm, a column a value.

    Settings of several parameters at once would be wide columns; with some a trial is a row.
    """
    grid: dict[str, list[dict[str, Any]]] = tuning.get("grid") or {}
    if not grid:
        return None, None, []
    edge = edge_arms(tuning)
    values = list(dict.fromkeys(trial["value"] for trials in grid.values() for trial in trials))
    if all(isinstance(value, int | float) for value in values):
        values.sort()
    rows = []
    for arm, trials in grid.items():
        chosen = (tuning.get("chosen") or {}).get(arm)
        at = {trial["value"]: readable.number(trial.get("metric")) for trial in trials}
        cells = [at.get(v, "") + (" ◀" if v == chosen and v in at else "") for v in values]
        rows.append([f"{arm} {EDGE}" if arm in edge else arm, *cells])
    settings = any(map(_names_keys, values))
    note = f"{tuning.get('metric')} on seed {tuning.get('seed')} for each value of "
    note += f"{tuning.get('parameter')}{' or setting' if settings else ''}; ◀ marks the one that "
    note += f"the arm then uses ({'lowest' if tuning.get('mode') != 'max' else 'highest'})."
    note += _chosen_on(tuning, grid)
    if tuning.get("unequal"):
        note += f" Unequal numbers of trials: {tuning['unequal']}"
    if settings:
        rows = [
            [arm, readable.number(v), cell]
            for arm, *cells in rows
            for v, cell in zip(values, cells, strict=True)
            if cell
        ]
        return Table(["arm", "value", str(tuning.get("metric"))], rows), note, edge
    return Table(["arm", *(readable.number(value) for value in values)], rows), note, edge


def _chosen_on(tuning: Mapping[str, Any], arms: Collection[str]) -> str:
    """Return a sentence on the rows that chose."""
    training = "training rows held out for this"
    apart = tuning.get("apart")
    if apart is None or not str(tuning.get("metric")).startswith("val/"):
        return ""
    if len(apart) == len(arms):
        return f" Measured on {training}, not on those that judge."
    if not apart:
        return " Measured on rows of validation, where those of a test split judge."
    others = "of the others on rows of validation, where those of a test split judge"
    return f" Measured of {', '.join(apart)} on {training}; {others}."


def _names_keys(value: Any) -> bool:
    """Tell whether a tuned value says itself what it sets."""
    return isinstance(value, str) and "=" in value


def _runs(runs: list[dict[str, Any]]) -> Table:
    return Table(
        ["run", "arm", "seed", "status", "steps", "time"],
        [
            [
                str(run["id"]),
                run["arm"],
                str(run["seed"]),
                run["status"] if at is None else f"diverged at step {at}",
                readable.number((run.get("cost") or {}).get("steps")),
                readable.duration((run.get("cost") or {}).get("wall_seconds")),
            ]
            for run in runs
            for at in [diverged_at(finals(run))]
        ],
    )
