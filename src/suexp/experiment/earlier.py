"""How long an experiment's runs took when they were made before."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from suexp.experiment.plan import Plan
from suexp.folders import experiments_dir


def earlier(item: Plan, folder: Path) -> dict[str, float]:
    """Return the mean seconds of a run of each arm, where that is known.

    Args:
        item: the experiment.
        folder: where its own results are; those that are recorded count for the arms it lacks, when
            they are of the same scale.
    """
    times: dict[str, float] = {}
    for path in (experiments_dir() / str(item.slug) / "results.json", folder / "results.json"):
        try:
            found = json.loads(path.read_bytes())
            if found["scale"] == item.scale:
                times |= _means(found["runs"])
        except (OSError, ValueError, LookupError, TypeError):
            continue  # there are none, or they are broken: `suexp report` says so
    return times


def _means(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean seconds of the runs of each arm."""
    known: dict[str, list[float]] = {}
    for run in runs:
        if run["status"] == "finished" and run["cost"].get("wall_seconds"):
            known.setdefault(str(run["arm"]), []).append(float(run["cost"]["wall_seconds"]))
    return {arm: fmean(times) for arm, times in known.items()}
