"""The figure of a study: how its best value came about, and each parameter against the value."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from suexp.report.figures import saved
from suexp.report.theme import CATEGORIES, INK

COLUMNS = 3
FINISHED, PRUNED = [*CATEGORIES][:2]


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the trials of study.json that have a value.

    The first panel has the values by trial and the best so far, each other one a parameter against
    the value. Pruned trials are crosses at the last value that they reported.
    """
    rows = sorted(results["trials"], key=lambda row: row["number"])
    rows = [row for row in rows if row["value"] is not None]
    panels = 1 + len(results["space"])
    columns = 2 if panels == 4 else min(panels, COLUMNS)
    lines = math.ceil(panels / columns)
    with saved(path, (3.4 * columns, 2.9 * lines)) as canvas:
        axes = list(canvas.subplots(lines, columns, squeeze=False).ravel())
        _history(axes[0], rows, results["direction"] == "maximize")
        for panel, (key, item) in zip(axes[1:], results["space"].items(), strict=False):
            _parameter(panel, rows, key, item)
        for panel in axes[:panels]:
            panel.set_ylabel(results["metric"])
        for panel in axes[panels:]:
            panel.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _history(axes: Axes, rows: Sequence[dict[str, Any]], maximize: bool) -> None:
    _dots(axes, rows, "trial", [row["number"] for row in rows])
    finished = [row for row in rows if row["state"] == "finished"]
    best: list[float] = []
    for row in finished:
        value = row["value"]
        best.append(
            value if not best else max(best[-1], value) if maximize else min(best[-1], value)
        )
    axes.step(
        [row["number"] for row in finished], best, where="post", color=INK, linewidth=1.2,
        label="best so far", gid="best",
    )  # fmt: skip
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _parameter(axes: Axes, rows: Sequence[dict[str, Any]], key: str, item: dict[str, Any]) -> None:
    choices = item["choices"]
    values = [row["parameters"][key] for row in rows]
    _dots(axes, rows, key, [choices.index(value) if choices else value for value in values])
    if choices:
        axes.set_xticks(
            range(len(choices)), [str(choice).replace("$", r"\$") for choice in choices]
        )
        axes.set_xlim(-0.5, len(choices) - 0.5)
    elif item["log"]:
        axes.set_xscale("log")
    elif isinstance(item["low"], int):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_xlabel(key)


def _dots(axes: Axes, rows: Sequence[dict[str, Any]], key: str, places: Sequence[float]) -> None:
    for state, marker, colour in (("finished", "o", FINISHED), ("pruned", "x", PRUNED)):
        chosen = [place for place, row in enumerate(rows) if row["state"] == state]
        if chosen:
            axes.plot(
                [places[i] for i in chosen], [rows[i]["value"] for i in chosen], marker=marker,
                linestyle="none", markersize=5, color=colour, markeredgecolor=colour, label=state,
                gid=f"{key}-{state}",
            )  # fmt: skip
