"""What the terminal shows at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from suexp.experiment.plan import Planned
from suexp.judge.intervals import Estimate, mean_interval
from suexp.report.verdicts import judged
from suexp.report.wording import number
from suexp.store.spec import RunSpec
from suexp.store.summary import Summary

COLOURS = {
    "verified": "green",
    "reproduced": "green",
    "held in n of n": "green",
    "no difference that matters": "cyan",
    "not reproduced": "red",
    "inconclusive": "yellow",
}


def closing_table(spec: RunSpec, summary: Summary) -> None:
    """Show one run: what was run, its final metrics, where the results lie."""
    console = Console()
    if summary.sample:
        console.rule("a sample of what the model writes", style="dim")
        console.print(summary.sample.strip(), markup=False, highlight=False)
    table = Table(title=f"run {summary.id}", show_header=False, title_justify="left")
    table.add_column(style="dim")
    table.add_column()
    shown = ("task", "data", "model", "attention", "position", "optimizer", "scheduler")
    parts = ", ".join(f"{group}={spec.choices[group]}" for group in shown if group in spec.choices)
    table.add_row("what", f"{parts}, seed={spec.seed}")
    for name, value in summary.metrics.items():
        if not name.startswith(("train/lr", "train/elements")):
            table.add_row(name, f"{value:,.4f}" if isinstance(value, float) else f"{value:,}")
    cost = summary.cost
    if "parameters" in cost:
        table.add_row("parameters", f"{cost['parameters']:,}")
    table.add_row("time", f"{cost['wall_seconds']:.1f} s")
    table.add_row("results", str(spec.folder))
    console.print(table)


def sweep_table(rows: Sequence[tuple[Planned, Summary | None]]) -> None:
    """Show a plain sweep: a row a run, with the keys that vary; what all share stands above."""
    settings, varied = varying([planned.overrides for planned, _ in rows])
    shared = " ".join(f"{key}={value}" for key, value in settings[0].items() if key not in varied)
    table = Table(title=escape(f"runs {shared}".strip()), title_justify="left")
    for column in ("run", *varied, "status", "metrics"):
        table.add_column(escape(column))
    for (planned, summary), found in zip(rows, settings, strict=True):
        metrics = summary.metrics if summary else {}
        text = ", ".join(
            f"{k} {v:.4g}" for k, v in metrics.items() if k.startswith(("val/", "test/"))
        )
        status = summary.status.value if summary else "died"
        own = (escape(found.get(key, "")) for key in varied)
        table.add_row(planned.run.id, *own, status, text)
    Console().print(table)


def varying(overrides: Sequence[Sequence[str]]) -> tuple[list[dict[str, str]], list[str]]:
    """Return each run's settings by key, and the keys in which the runs differ."""
    parts = [[item.partition("=") for item in run] for run in overrides]
    settings = [{key: value for key, _, value in run} for run in parts]
    keys = dict.fromkeys(key for found in settings for key in found)
    return settings, [key for key in keys if len({found.get(key) for found in settings}) > 1]


def verdicts(results: Mapping[str, Any], folder: Path) -> None:
    """Show an experiment: a row a claim, and where the report lies."""
    table = Table(title=f"{results['experiment']} ({results['scale']})", title_justify="left")
    for column in ("claim", "sentence", "found [95 % interval]", "allowed", "verdict"):
        table.add_column(column)
    for claim in map(judged, results["claims"]):
        colour = COLOURS.get(claim.verdict, "dim")
        facts = (claim.id, claim.text, claim.estimate or "", claim.allowed or "")
        more = "".join(f"\n{note}" for note in claim.notes if "needs" in note or "diverged" in note)
        table.add_row(*map(escape, facts), f"[{colour}]{claim.label}[/{colour}]{more}")
    console = Console()
    console.print(table)
    for run in results["runs"]:
        if run["status"] != "finished":
            console.print(f"{run['arm']} seed {run['seed']}: {run['status']}: {run['error']}")
    where(folder)


def where(folder: Path) -> None:
    """Say where a report lies."""
    Console().print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def beside_the_baseline(results: Mapping[str, Any]) -> None:
    """Show each arm's metric, and how far it is from the first arm's, seed by seed."""
    found: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in results["arms"]}
    for run in results["runs"]:
        if run["status"] == "finished":
            found[run["arm"]][run["seed"]] = run["metrics"]
    baseline = next(iter(found))
    names = [name for name in ("val/loss", *_metrics(found)) if name in _metrics(found)]
    if not names:
        return
    table = Table(title=f"{names[0]}, and the difference to {baseline} over the same seeds")
    for column in ("arm", "seeds", names[0], "difference [95 % interval]"):
        table.add_column(column)
    for arm, runs in found.items():
        values = [metrics[names[0]] for metrics in runs.values() if names[0] in metrics]
        pairs = [
            metrics[names[0]] - found[baseline][seed][names[0]]
            for seed, metrics in runs.items()
            if names[0] in metrics and names[0] in found[baseline].get(seed, {})
        ]
        mean = number(mean_interval(values).mean) if values else ""
        apart = _interval(mean_interval(pairs)) if pairs and arm != baseline else ""
        table.add_row(escape(arm), str(len(values)), mean, escape(apart))
    Console().print(table)


def _metrics(found: dict[str, dict[int, dict[str, float]]]) -> list[str]:
    """Return the names of evaluations that runs have."""
    names = dict.fromkeys(
        name for runs in found.values() for metrics in runs.values() for name in metrics
    )
    return [name for name in names if name.startswith(("val/", "test/"))]


def _interval(found: Estimate) -> str:
    ends = "" if found.low is None else f" [{found.low:+.4g}, {found.high:+.4g}]"
    return f"{found.mean:+.4g}{ends}"
