"""Levels that arms are expected to reach, from the paper, the post or a prototype.

A comparison says little where both sides are far from what the method reaches elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from suexp.errors import UserError
from suexp.judge.expression import Metric
from suexp.judge.grammar import parse
from suexp.near import near
from suexp.store.summary import finals


def read(quantity: str, arms: Sequence[str]) -> Metric:
    """Return the metric and the arm of ``val/loss[lion]``.

    Raises:
        UserError: it is something else, or the arm does not exist.
    """
    leaf = parse(f"{quantity} < 0").links[0].left
    if not isinstance(leaf, Metric):
        raise UserError(f"expect: {quantity!r} is no metric of an arm; write val/loss[arm]")
    if leaf.arm not in arms:
        raise UserError(f"expect names an unknown arm {leaf.arm!r}{near(leaf.arm, arms)}")
    return leaf


def levels(
    expect: Mapping[str, Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return what was found beside what is expected.

    Args:
        expect: quantity -> {value, tolerance, source}.
        runs: in the form of results.json.

    Returns:
        One record a quantity: quantity, value, tolerance, source, found (the mean over seeds) and
        reached (whether it lies within the tolerance); both are None where no run has the metric.
    """
    records = []
    for quantity, level in expect.items():
        leaf = read(quantity, [str(run["arm"]) for run in runs])
        values = [finals(run).get(leaf.name) for run in runs if run["arm"] == leaf.arm]
        known = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
        found = math.fsum(known) / len(known) if known else None
        reached = None if found is None else abs(found - level["value"]) <= level["tolerance"]
        records.append({"quantity": quantity, **level, "found": found, "reached": reached})
    return records


def missed(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each level that is not reached."""
    return [
        f"{level['quantity']} is {level['found']:.4g}; expected was {level['value']:g} +- "
        f"{level['tolerance']:g} ({level['source']})"
        for level in records
        if level["reached"] is False
    ]
