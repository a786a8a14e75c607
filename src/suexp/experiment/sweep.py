"""A plain sweep's report: an experiment without claims, an arm for each combination of settings."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suexp.experiment.plan import Plan, Planned
from suexp.experiment.terminal import varying
from suexp.experiment.written import write
from suexp.store.identity import volatile
from suexp.store.summary import Summary

SEED = "seed"


def report(
    plans: Sequence[Plan],
    rows: Sequence[tuple[Planned, Summary | None]],
    arguments: Sequence[str],
) -> Path | None:
    """Write the report of a sweep and its results.json; return the folder, None of a single run.

    Args:
        plans: what was planned.
        rows: their runs with what came out of them.
        arguments: what was typed.
    """
    runs = [planned for planned, _ in rows]
    settings, keys = varying([planned.overrides for planned in runs])
    named = [key for key in keys if key != SEED]
    if len(runs) < 2 or not plans:
        return None
    labels = [
        ", ".join(f"{key}={found.get(key, '')}" for key in named) or "all" for found in settings
    ]
    planned = [replace(run, arm=label) for run, label in zip(runs, labels, strict=True)]
    arms = {
        label: [f"{key}={found[key]}" for key in named if key in found]
        for label, found in zip(labels, settings, strict=True)
    }
    metric = _metric([summary for _, summary in rows])
    header: dict[str, Any] = {
        "slug": "sweep",
        "post": {"slug": "sweep", "title": f"A sweep of {', '.join(named or [SEED])}"},
        **{"arms": arms, "claims": {}, "tune": None, "expect": None},
        "figures": _figures(metric) if metric else {},
    }
    plan = replace(plans[0], header=header, typed=())
    lasting = sorted(item for item in arguments if not volatile(item.partition("=")[0]))
    name = "-".join(key.split(".")[-1] for key in named or [SEED])[:60]
    digest = hashlib.sha256("\n".join(lasting).encode()).hexdigest()[:8]
    folder = Path(plan.out) / "sweeps" / f"{name}-{digest}"
    write(plan, folder, planned, command=" ".join(["suexp -m", *arguments]))
    return folder


def _metric(summaries: Sequence[Summary | None]) -> str | None:
    """Return the metric that is drawn: the validation loss, or another of the validation."""
    for summary in summaries:
        names = [name for name in (summary.metrics if summary else {}) if name.startswith("val/")]
        if names:
            return "val/loss" if "val/loss" in names else names[0]
    return None


def _figures(metric: str) -> dict[str, Any]:
    shown = {"y": metric, "by": "arm"}
    return {
        "curves": {**shown, "kind": "line", "from": "history", "x": "step", "caption": "Training."},
        "final": {"y": metric, "kind": "bar", "from": "final", "caption": "At the end."},
    }
