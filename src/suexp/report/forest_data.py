"""How far each claim lies from its bound, seed by seed, on one scale for all claims.

A claim's values, its interval and its bound are on a scale of its own: nats, bytes, times as much.
Divided by the standard deviation of a seed they are on one. The sign is that of the claim: right
of 0 it holds, left of it it fails.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Real = int | float


@dataclass(frozen=True)
class Row:
    """A claim of a forest plot.

    Attributes:
        claim: its name.
        verdict: the judge's word.
        n: the number of seeds.
        mean: the distance beyond the bound in standard deviations of a seed; None: it has none,
            as an identity, a claim without spread, or one that was not evaluated.
        interval: its ends; None: the claim has none.
        seeds: the same distance in each seed.
    """

    claim: str
    verdict: str
    n: int
    mean: float | None = None
    interval: tuple[float, float] | None = None
    seeds: tuple[float, ...] = ()


def rows_of(claims: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a row for each claim, in their order.

    >>> claim = {"id": "C", "verdict": "reproduced", "relation": "<", "bound": 1.0, "n": 3}
    >>> claim |= {"estimate": 0.0, "interval": [-0.5, 0.5], "per_seed": [-0.2, 0.0, 0.2]}
    >>> row = rows_of([claim])[0]
    >>> row.mean, row.interval, row.seeds
    (5.0, (2.5, 7.5), (6.0, 5.0, 4.0))
    """
    return [_row(claim) for claim in claims]


def _row(claim: Mapping[str, Any]) -> Row:
    plain = Row(str(claim["id"]), str(claim["verdict"]), int(claim.get("n") or 0))
    if claim.get("estimate") is None or not claim.get("relation"):
        return plain
    if claim.get("judged") in ("exact", "signs"):
        return plain
    values = [value for value in claim.get("per_seed") or [] if _finite(value)]
    ends = claim.get("interval")
    if len(values) < 2 or len(values) < len(claim["per_seed"]):
        return plain
    beyond = _distance(claim)
    try:
        spread = statistics.stdev(map(_difference(claim), values)) or _spread(claim)
        if not spread > 1e-12 * max(abs(_difference(claim)(value)) for value in values):
            return plain
        interval = None
        if ends and all(map(_finite, ends)):
            low, high = _image(claim, *map(_difference(claim), ends))
            interval = low / spread, high / spread
        return Row(
            plain.claim, plain.verdict, plain.n,
            mean=beyond(_difference(claim)(claim["estimate"])) / spread,
            interval=interval,
            seeds=tuple(beyond(_difference(claim)(value)) / spread for value in values),
        )  # fmt: skip
    except (ArithmeticError, ValueError):  # a ratio that is none
        return plain


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _difference(claim: Mapping[str, Any]) -> Callable[[Real], float]:
    """Return the map from the quantity to its difference from the bound, as it was judged."""
    bound = float(claim.get("bound") or 0.0)
    if claim.get("judged") == "ratio":
        return lambda value: math.log(value / bound)
    return lambda value: value - bound


def _distance(claim: Mapping[str, Any]) -> Callable[[float], float]:
    """Return the map from a difference to how far it lies on the claim's side."""
    margin = claim.get("margin")
    if margin is not None:
        return lambda difference: margin - abs(difference)
    sign = -1.0 if str(claim["relation"]).startswith("<") else 1.0
    return lambda difference: sign * difference


def _image(claim: Mapping[str, Any], low: float, high: float) -> tuple[float, float]:
    """Return the distances over an interval: within a margin, its middle is the farthest."""
    ends = sorted(map(_distance(claim), (low, high)))
    if claim.get("margin") is not None and low < 0 < high:
        return ends[0], float(claim["margin"])
    return ends[0], ends[1]


def _spread(claim: Mapping[str, Any]) -> float:
    """Return the standard deviation that the interval was made of, where the values have none."""
    looks, ends = claim.get("looks") or [], claim.get("interval")
    critical = looks[-1].get("critical") if looks else None
    if not critical or not ends:
        return 0.0
    low, high = map(_difference(claim), ends)
    return (high - low) / 2 / float(critical) * math.sqrt(int(claim["n"]))
