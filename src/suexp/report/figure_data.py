"""The rows that a figure shows, whichever of the four places they come from."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suexp.store.summary import finals

SOURCES = ("history", "table", "tuning", "final")
Row = dict[str, Any]
_DID = {"failed": "failed", "interrupted": "was interrupted"}


class NothingToDrawError(Exception):
    """A figure has no data; the message says why."""


def rows_of(
    figure: Mapping[str, Any], results: Mapping[str, Any], runs_dir: Path
) -> tuple[list[Row], list[str]]:
    """Collect the rows of a figure, each with its arm and seed.

    Args:
        figure: the definition: from, table, arms, where and the columns x, y, z.
        results: results.json.
        runs_dir: where the runs' folders stand, for their histories.

    Returns:
        The rows, and notes on what is missing from them.

    Raises:
        NothingToDrawError: no row is left.
    """
    source = figure.get("from", "final")
    notes: list[str] = []
    if source == "tuning":
        rows = _tuning(results)
    else:
        rows = []
        for run in _runs(figure, results, notes):
            label = {"arm": run["arm"], "seed": run["seed"]}
            rows += [{**row, **label} for row in _of_run(source, figure, run, runs_dir)]
    wanted = list(dict.fromkeys(str(figure[key]) for key in ("x", "y", "z") if figure.get(key)))
    for column in wanted:
        if not any(column in row for row in rows):
            raise NothingToDrawError("; ".join([f"no run recorded {column}", *notes]))
    rows = [row for row in rows if all(column in row for column in wanted)]
    rows = [row for row in rows if _passes(row, figure)]
    kept = [row for row in rows if all(_drawable(row, key, figure) for key in "xyz")]
    if len(kept) < len(rows):
        lost = len(rows) - len(kept)
        notes.append(f"without {lost} point{'s' * (lost > 1)} that cannot be drawn (NaN, infinite)")
    if not kept:
        raise NothingToDrawError("; ".join(["no run has data for it", *notes]))
    return kept, notes


def _runs(
    figure: Mapping[str, Any], results: Mapping[str, Any], notes: list[str]
) -> list[dict[str, Any]]:
    wanted = [arm for arm in results["arms"] if arm in (figure.get("arms") or results["arms"])]
    runs = [run for run in results["runs"] if run["arm"] in wanted]
    bad: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        if run["status"] != "finished":
            bad.setdefault((run["arm"], run["status"]), []).append(str(run["seed"]))
    for (arm, status), seeds in bad.items():
        notes.append(f"without {arm} seed {', '.join(seeds)}, which {_DID.get(status, status)}")
    return sorted(
        (run for run in runs if run["status"] == "finished"),
        key=lambda run: (wanted.index(run["arm"]), run["seed"]),
    )


def _of_run(
    source: str, figure: Mapping[str, Any], run: dict[str, Any], runs_dir: Path
) -> list[Row]:
    if source == "history":
        from suexp.store.folder import read_history

        history = read_history(runs_dir / str(run["id"]) / "metrics.jsonl")
        cost = run.get("cost") or {}
        if cost.get("flops"):
            for row in history:  # those of its parents come before its first step
                left = cost["steps"] - row["step"]
                row["cost/flops"] = cost["flops"] - left * cost["flops_per_step"]
        return history
    if source == "final":
        return [finals(run)]
    tables: dict[str, list[Row]] = run.get("tables") or {}
    if figure.get("table"):
        return tables.get(str(figure["table"]), [])
    columns = [str(figure[key]) for key in ("x", "y", "z") if figure.get(key)]
    fitting = [rows for rows in tables.values() if rows and all(c in rows[0] for c in columns)]
    return fitting[0] if fitting else []


def _tuning(results: Mapping[str, Any]) -> list[Row]:
    """One row a tried value: value and metric, also under the names that they have in the run."""
    tuning = results.get("tuning") or {}
    return [
        {
            "arm": arm,
            "seed": tuning.get("seed"),
            "value": trial["value"],
            "metric": trial.get("metric"),
            str(tuning.get("parameter")): trial["value"],
            str(tuning.get("metric")): trial.get("metric"),
            "chosen": trial["value"] == (tuning.get("chosen") or {}).get(arm),
        }
        for arm, trials in (tuning.get("grid") or {}).items()
        for trial in trials
    ]


def _passes(row: Row, figure: Mapping[str, Any]) -> bool:
    if figure.get("arms") and row["arm"] not in figure["arms"]:
        return False
    for column, allowed in (figure.get("where") or {}).items():
        if row.get(column) not in (allowed if isinstance(allowed, list) else [allowed]):
            return False
    return True


def _drawable(row: Row, key: str, figure: Mapping[str, Any]) -> bool:
    if not figure.get(key):
        return True
    value = row[str(figure[key])]
    if isinstance(value, str):
        return key == "x" or (key == "y" and figure["kind"] == "image")
    if not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return value > 0 or figure.get(f"{key}_scale") != "log"


def group(rows: list[Row], by: str | list[str]) -> dict[str, list[Row]]:
    """Split rows by one or several columns; the keys are labels that can be read.

    Arms keep the order of the experiment, numbers ascend.
    """
    columns = [by] if isinstance(by, str) else by
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(column) for column in columns), []).append(row)
    keys = list(groups)
    if all(isinstance(value, int | float) for key in keys for value in key):
        keys.sort()
    return {_label(columns, key): groups[key] for key in keys}


def _label(columns: list[str], key: tuple[Any, ...]) -> str:
    parts = [
        f"{column} = {value}" if isinstance(value, int | float) or value is None else str(value)
        for column, value in zip(columns, key, strict=True)
    ]
    return ", ".join(parts)
