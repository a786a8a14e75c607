"""Results of earlier versions, as today's has them.

Those of schema 1 held the difference of a claim's sides and nothing of its looks. Those of before
December 2026 said of all arms at once which rows chose their values.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from suexp.errors import UserError
from suexp.judge.expression import Claim, evaluate, leaves
from suexp.judge.grammar import parse

SCHEMA = 2
# What a normal deviate needs to be seen eight times of ten at 2.5 % a side.
_REACH = 1.96 + 0.84


def brought_up(results: dict[str, Any]) -> dict[str, Any]:
    """Return results as schema 2 has them, as far as they can be derived.

    Quantity and bound are told apart (both move by the numbers of the test), and an open claim says
    what it needs. The looks, the sign-flip p and Holm's mark cannot be derived: they stay away.
    """
    tuning = results.get("tuning")
    if tuning and "rows" in tuning:
        apart = [*(tuning.get("grid") or {})] if tuning["rows"] == "training" else []
        results = results | {"tuning": {**tuning, "apart": apart}}
    if results["schema"] == SCHEMA:
        return results
    claims = [_claim(claim, results["runs"]) for claim in results["claims"]]
    return results | {"schema": SCHEMA, "claims": claims}


def _claim(claim: Mapping[str, Any], runs: list[Mapping[str, Any]]) -> dict[str, Any]:
    record = dict(claim)
    if "bound" in record or record.get("estimate") is None:
        return record
    try:
        parsed = parse(str(record["test"]))
    except UserError:
        return record
    link = parsed.links[0]
    # Left less right was judged, of a comparison by a factor too: it has no quantity of its own.
    bound = 0.0 if link.by_factor else link.bound
    if not any(leaves(link.right)):
        bound = evaluate(link.right, lambda _: math.nan)
    differences = record.get("per_seed") or []
    record |= {
        "judged": "difference",
        "quantity": None if link.by_factor else link.quantity,
        "bound": bound,
        "estimate": _moved(record["estimate"], bound),
        "interval": record.get("interval") and [_moved(x, bound) for x in record["interval"]],
        "per_seed": [_moved(value, bound) for value in differences],
        "needs": None,
    }
    if record["verdict"] == "inconclusive":
        record["needs"] = _needs(parsed, differences, record.get("margin"), runs)
    return record


def _moved(value: Any, bound: float) -> Any:
    return value + bound if isinstance(value, int | float) else value


def _needs(
    claim: Claim, differences: list[Any], margin: float | None, runs: list[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return how many seeds more would decide it, and the seconds of their runs."""
    if len(differences) < 2 or not all(
        isinstance(d, int | float) and math.isfinite(d) for d in differences
    ):
        return None
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    distance = abs(mean) if margin is None else abs(abs(mean) - margin)
    if spread == 0 or distance == 0:
        return None
    more = math.ceil((_REACH * spread / distance) ** 2) - len(differences)
    times = [
        (run.get("cost") or {}).get("wall_seconds") or 0.0
        for run in runs
        if run["arm"] in claim.arms
    ]
    if more < 1:
        return None
    seconds = statistics.fmean(times) * len(claim.arms) if times else 0.0
    return {"seeds": more, "seconds": more * seconds}
