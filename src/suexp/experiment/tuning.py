"""Which values of a tuned parameter are tried, and whether they reach far enough."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from suexp.experiment.settings import overrides
from suexp.judge.expression import Claim, Leaf, Metric, arms_of

# A grid whose best value is its last goes on so many steps at most.
STEPS = 2
# The share of the training rows on which values are chosen in the place of the rows of validation:
# those judge, and rows that chose would flatter.
HELD_OUT = 0.1

Point = Mapping[str, Any]


def name_of(point: Point, parameter: str) -> Any:
    """Return what a trial is called: the parameter's value, or the overrides of several keys."""
    if [*point] == [parameter]:
        return point[parameter]
    return " ".join(overrides(dict(point), {}))


def setting(tune: Mapping[str, Any], value: Any) -> tuple[str, ...]:
    """Return the overrides of a value of the grid: the tuned parameter's, or those it names itself.

    ``normalizer.order=4 loss.margin=0.5`` sets two at once.
    """
    if isinstance(value, str) and "=" in value:
        return tuple(value.split())
    return (f"{tune['parameter']}={value}",)


def apart(tune: Mapping[str, Any], claims: Collection[Claim]) -> list[str]:
    """Return the arms whose values are chosen on training rows kept apart.

    That is all of them, as the rows of validation judge; but where claims judge by a test split,
    those of validation choose for the arms that they do not judge.
    """
    if not tune["metric"].startswith("val/"):
        return []
    read = [(leaf, arm) for claim in claims for leaf in claim.leaves for arm in arms_of(leaf)]
    if not any(_of(leaf, "test/") for leaf, arm in read if arm in tune["grid"]):
        return [*tune["grid"]]
    judged = {arm for leaf, arm in read if _of(leaf, "val/") or not isinstance(leaf, Metric)}
    return [arm for arm in tune["grid"] if arm in judged]


def _of(leaf: Leaf, split: str) -> bool:
    return isinstance(leaf, Metric) and leaf.name.startswith(split)


def held_out(tune: Mapping[str, Any], arm: str) -> tuple[str, ...]:
    """Return the override that keeps the rows that judge an arm from choosing."""
    return (f"tune_fraction={HELD_OUT}",) if arm in tune["apart"] else ()


def beyond(points: Sequence[Point], given: int, best: Point) -> list[Point]:
    """Return the points one step beyond the edges on which the best one lies.

    Along each key the grid goes on by the factor that it ends with, at most `STEPS` times.

    Args:
        points: those that were tried.
        given: how many of them, the first, the experiment states.
        best: the best one.

    >>> beyond([{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.4}], 3, {"lr": 0.4})
    [{'lr': 0.8}]
    """
    found: list[Point] = []
    for key in best:
        line = _line(points, best, key)
        stated = _line(points[:given], best, key) or line
        if len(line) < 2 or not all(_positive(value) for value in line):
            continue
        for edge, inner, steps in (
            (line[0], line[1], sum(value < stated[0] for value in line)),
            (line[-1], line[-2], sum(value > stated[-1] for value in line)),
        ):
            value = _next(edge, inner)
            if best[key] == edge and steps < STEPS and value not in line:
                found.append({**best, key: value})
    return found


def on_edge(points: Sequence[Point], best: Point) -> list[str]:
    """Return the keys in which the best point is the last of its line."""
    lines = {key: _line(points, best, key) for key in best}
    numeric = {k: v for k, v in lines.items() if len(v) > 1 and all(map(_positive, v))}
    return [key for key, line in numeric.items() if best[key] in (line[0], line[-1])]


def _line(points: Sequence[Point], best: Point, key: str) -> list[Any]:
    """Return the values of a key among the points that differ from the best in it alone."""
    rest = {k: v for k, v in best.items() if k != key}
    values = {p[key] for p in points if {k: v for k, v in p.items() if k != key} == rest}
    return sorted(values) if all(isinstance(value, int | float) for value in values) else []


def _next(edge: Any, inner: Any) -> Any:
    """Return the value after the edge, by the last factor; a whole number stays one."""
    value = edge * edge / inner
    return max(1, round(value)) if isinstance(edge, int) else float(f"{value:.2g}")


def _positive(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and value > 0
