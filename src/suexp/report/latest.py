"""The last verdicts of an experiment: recorded with the package, or of the user's own runs."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suexp.folders import experiments_dir
from suexp.judge.claims import VERDICTS
from suexp.report.wording import total_time


def results_of(slug: str, out: str = "outputs") -> dict[str, Any] | None:
    """Return the last results.json of an experiment, or None.

    The user's own come before the recorded ones. Runs at smoke scale decide nothing, so that they
    count only where there is no other; results with changes of the user's own (their folder bears
    the changes) do not count.

    Args:
        slug: the experiment's name.
        out: the output folder, where the user's own runs lie.
    """
    found = []
    for path in [
        experiments_dir() / slug / "results.json",
        *Path(out, slug).glob("*/results.json"),
    ]:
        results = _read(path)
        if results is None:
            continue
        own = path.parent.parent == Path(out, slug)
        if own and path.parent.name != results.get("scale"):
            continue
        results["where"] = str(path.parent) if own else "recorded"
        found.append(results)
    return max(
        found,
        key=lambda item: (
            item.get("scale") != "smoke",
            item["where"] != "recorded",
            str(item.get("created")),
        ),
        default=None,
    )


def folder_of(slug: str, results: Mapping[str, Any]) -> Path:
    """Return where the results that `results_of` has found lie."""
    where = str(results["where"])
    return experiments_dir() / slug if where == "recorded" else Path(where)


def count(results: dict[str, Any] | None) -> dict[str, int]:
    """Return verdict -> number of claims, the best first."""
    counted = Counter(claim.get("verdict") for claim in _rows(results or {}, "claims"))
    return {verdict: counted[verdict] for verdict in VERDICTS if verdict in counted}


def summary(results: dict[str, Any] | None) -> str:
    """Return the counts as one phrase."""
    if results is None:
        return "not run yet"
    counted = ", ".join(f"{number} {verdict}" for verdict, number in count(results).items())
    return f"{counted or 'no claims'} ({results.get('scale')})"


def cost(results: dict[str, Any] | None) -> str | None:
    """Return how many runs there were, and how long they took one after the other."""
    if results is None:
        return None
    runs = _rows(results, "runs")
    return f"{len({run.get('id') for run in runs})} runs, {total_time(runs)}"


def _rows(results: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the entries that are what they should be; a report says what is wrong with others."""
    found = results.get(key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _read(path: Path) -> dict[str, Any] | None:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return results if isinstance(results, dict) else None
