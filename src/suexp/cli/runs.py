"""``suexp runs [WORDS]``: what the run store holds, and what may go."""

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from suexp.cli.terminal import counted, parser, show_rows, show_text
from suexp.config.overrides import typed
from suexp.errors import UserError
from suexp.near import near
from suexp.report.wording import duration, number, size
from suexp.store.query import STATUSES, Stored, chosen, having, stored

ORDERS = ("when", "size", "time", "id")


def run(argv: Sequence[str]) -> int:
    """List the runs, or remove them.

    Raises:
        UserError: a word, metric or order that means nothing; removing without being told which.
    """
    arguments = parser("runs", "List the runs of an output folder, or remove them.")
    arguments.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="keep those with key=value in their config (experiment=lion arm=adamw seed=0 "
        f"optimizer.lr=1e-3), of a status ({', '.join(STATUSES)}), or of an id that begins so",
    )
    arguments.add_argument("--out", type=Path, default=Path("outputs"), help="default: outputs")
    arguments.add_argument("--metric", help="default: val/loss, or a run's first of the validation")
    arguments.add_argument("--sort", default="when", help=f"{', '.join(ORDERS)}, or a metric")
    arguments.add_argument("--group", metavar="KEY", help="a row for each value: optimizer.lr, arm")
    arguments.add_argument("--older", metavar="AGE", help="begun that long ago: 12h, 30d")
    arguments.add_argument("--json", action="store_true", help="machine readable")
    arguments.add_argument("--prune", action="store_true", help="remove them, once you agree")
    arguments.add_argument("--yes", action="store_true", help="agree in advance")
    given = arguments.parse_args(argv)
    runs = found(given.out, given.words, given.metric, given.sort, given.older)
    if given.prune:
        if not (given.words or given.older):
            raise UserError("runs --prune: say which runs, for example failed, or --older 30d")
        return prune(runs, given.yes)
    if given.group:
        rows = grouped(runs, given.group, given.metric)
        print(json.dumps(rows, indent=1, default=str)) if given.json else show_groups(rows)
        return 0
    if given.json:
        print(json.dumps([record(item, given.metric) for item in runs], indent=1, default=str))
        return 0
    show(runs, given.metric)
    return 0


def found(
    out: Path, words: Sequence[str], metric: str | None, sort: str, older: str | None
) -> list[Stored]:
    """Return the runs of a store that are asked for, in order; the arguments are the command's.

    Raises:
        UserError: a word, metric, order or age that means nothing.
    """
    runs = chosen(stored(out), words)
    if older:
        runs = [item for item in runs if datetime.now(UTC) - item.when > age(older)]
    runs = ordered(runs, sort)
    if metric and runs:
        _check_metric(runs, metric)
    return runs


def record(item: Stored, metric: str | None) -> dict[str, Any]:
    """Return what is listed of a run."""
    entry = item.entry
    name, value = measured(item, metric)
    return {
        "id": item.id,
        "experiment": entry.label.get("experiment"),
        "arm": entry.label.get("arm"),
        "seed": entry.seed,
        "status": item.status,
        "error": entry.error,
        "when": item.when.isoformat(),
        "metric": name,
        "value": value,
        "steps": item.entry.cost.get("steps"),
        "seconds": item.entry.cost.get("wall_seconds"),
        "bytes": item.entry.size,
        "folder": str(item.folder),
    }


def grouped(runs: Sequence[Stored], key: str, metric: str | None) -> list[dict[str, Any]]:
    """Return for each value of a key the number of runs, and a metric over the finished ones.

    Raises:
        UserError: no run's config has the key.
    """
    groups: dict[str, list[Stored]] = {}
    for item in having(runs, key):
        groups.setdefault(typed(item.value(key)), []).append(item)
    rows = []
    for value, items in groups.items():
        found = [measured(item, metric) for item in items if item.status == "finished"]
        name = next((name for name, value in found if value is not None), metric)
        known = [number for label, number in found if label == name and number is not None]
        facts: dict[str, float | None] = {
            "mean": None,
            "deviation": None,
            "least": None,
            "most": None,
        }
        if known:
            facts |= {"mean": fmean(known), "least": min(known), "most": max(known)}
        if len(known) > 1:
            facts["deviation"] = stdev(known)
        rows.append(
            {key: value, "runs": len(items), "measured": len(known), "metric": name} | facts
        )
    return rows


def show_groups(rows: Sequence[dict[str, Any]]) -> None:
    """Print a row for each value."""
    names = ("mean", "deviation", "least", "most")
    shown = [
        (*list(row.values())[:2], row["metric"] or "", *(number(row[name]) for name in names))
        for row in rows
    ]
    heads = (next(iter(rows[0]), "") if rows else "", "runs", "metric", *names)
    show_rows(("",) * len(heads), [heads, *shown])


def measured(item: Stored, metric: str | None) -> tuple[str | None, Any]:
    """Return the name and value of the metric to show."""
    if metric:
        return (metric, item.entry.metrics.get(metric))
    for name in ("val/loss", *item.entry.metrics):
        if name in item.entry.metrics and name.startswith(("val/", "test/")):
            return name, item.entry.metrics[name]
    return None, None


def ordered(runs: list[Stored], order: str) -> list[Stored]:
    """Return the runs in an order; those without the metric come last.

    Raises:
        UserError: no such order or metric.
    """
    if order in ORDERS:
        keys: dict[str, Any] = {
            "when": lambda item: (item.when, item.id),
            "size": lambda item: -item.entry.size,
            "time": lambda item: -(item.entry.cost.get("wall_seconds") or 0),
            "id": lambda item: item.id,
        }
        return sorted(runs, key=keys[order])
    if runs:
        _check_metric(runs, order)
    return sorted(runs, key=lambda item: item.entry.metrics.get(order, float("inf")))


def show(runs: Sequence[Stored], metric: str | None) -> None:
    """Print the runs, and what they come to."""
    rows = []
    for item in runs:
        row = record(item, metric)
        what = " ".join(str(row[key]) for key in ("experiment", "arm") if row[key] is not None)
        value = "" if row["value"] is None else f"{row['metric']} {number(row['value'])}"
        note = value or (row["error"] or "").splitlines()[:1]
        rows.append(
            (
                row["id"],
                what or "-",
                row["seed"],
                row["status"],
                f"{item.when.astimezone():%Y-%m-%d %H:%M}",
                note if isinstance(note, str) else " ".join(note)[:60],
                duration(row["seconds"]),
                size(row["bytes"]),
            )
        )
    show_rows(("run", "what", "seed", "status", "begun", "result", "time", "size"), rows)
    counts = {status: sum(item.status == status for item in runs) for status in _order(runs)}
    total = ", ".join(f"{count} {status}" for status, count in counts.items())
    bytes_ = size(sum(item.entry.size for item in runs))
    show_text(f"\n{counted(len(runs), 'run')} ({total or 'none'}), {bytes_}", "dim")


def prune(runs: Sequence[Stored], agreed: bool) -> int:
    """Remove the runs, but for those that are running.

    Raises:
        UserError: nobody there to agree.
    """
    doomed = [item for item in runs if item.status != "running"]
    if not doomed:
        show_text("nothing to remove")
        return 0
    show(doomed, None)
    if not agreed:
        if not sys.stdin.isatty():
            raise UserError(
                f"runs --prune: {counted(len(doomed), 'run')} would go; add --yes to agree"
            )
        if input("Remove them? [y/N] ").strip().lower() not in ("y", "yes"):
            show_text("nothing was removed")
            return 0
    for item in doomed:
        item.remove()
    show_text(f"removed {counted(len(doomed), 'run')}")
    return 0


def age(text: str) -> timedelta:
    """Return how long ``90m``, ``12h`` or ``30d`` is.

    Raises:
        UserError: it is none of these.
    """
    said = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text)
    if not said:
        raise UserError(f"runs --older {text}: say 90m, 12h or 30d")
    unit = {"m": "minutes", "h": "hours", "d": "days"}[said[2]]
    return timedelta(**{unit: float(said[1])})


def _order(runs: Sequence[Stored]) -> list[str]:
    return list(dict.fromkeys(item.status for item in runs))


def _check_metric(runs: Sequence[Stored], metric: str) -> None:
    known = {name for item in runs for name in item.entry.metrics}
    if metric not in known:
        raise UserError(f"runs: no run has a metric {metric}{near(metric, sorted(known))}")
