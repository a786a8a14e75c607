"""What the figures of one report share: the arms' looks, which are marked, what is expected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suexp.report.looks import Look, looks

EDGE = "†"
EDGE_NOTE = f"{EDGE} tuned to the edge of its grid"


@dataclass(frozen=True)
class Scene:
    """The arms of a report.

    Attributes:
        looks: each arm's colour, marker and line style.
        edge: the arms whose tuned value lies at the edge of its grid.
        levels: (metric, arm) -> (value, tolerance) that is expected.
    """

    looks: Mapping[str, Look] = field(default_factory=dict)
    edge: frozenset[str] = frozenset()
    levels: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def marked(self, label: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Return a group's label, with a mark where its arm was tuned to the edge of its grid."""
        arms = {row.get("arm") for row in rows}
        return f"{label} {EDGE}" if len(arms) == 1 and arms <= self.edge else label

    def level(self, metric: str, rows: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
        """Return what is expected of a metric of the one arm that the rows are of."""
        arms = {str(row.get("arm")) for row in rows}
        return self.levels.get((metric, arms.pop())) if len(arms) == 1 else None


def scene(results: Mapping[str, Any], figures: Mapping[str, Any] | None = None) -> Scene:
    """Return the scene of a report.

    Args:
        results: results.json.
        figures: the definitions of its figures; the arms of one get colours of their own.
    """
    arms = list(results["arms"])
    together = [[str(a) for a in f.get("arms") or []] for f in (figures or {}).values()]
    levels = {}
    for level in results.get("levels") or []:
        metric, _, arm = str(level["quantity"]).rpartition("[")
        levels[metric, arm.removesuffix("]")] = (level["value"], level["tolerance"])
    return Scene(looks(arms, together), frozenset(edge_arms(results.get("tuning") or {})), levels)


def edge_arms(tuning: Mapping[str, Any]) -> list[str]:
    """Return the arms whose tuned value lies at the edge of its grid: a better one may lie beyond.

    A record of schema 1 does not say so; there it is the first or last value that was tried.
    """
    grid: Mapping[str, Sequence[Mapping[str, Any]]] = tuning.get("grid") or {}
    if "edge" in tuning:
        return [arm for arm in grid if arm in tuning["edge"]]
    chosen = tuning.get("chosen") or {}
    found = []
    for arm, trials in grid.items():
        tried = [trial["value"] for trial in trials]
        best = chosen.get(arm)
        names_keys = isinstance(best, str) and "=" in best
        if len(tried) > 1 and best in (tried[0], tried[-1]) and not names_keys:
            found.append(arm)
    return found
