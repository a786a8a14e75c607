"""From claims and runs to verdicts.

Both sides of a claim are evaluated seed by seed; their difference gets a 95 % t interval over the
seeds (a paired comparison, with the margin on one of the sides).

=================  ===============================================================================
reproduced         the whole interval lies where the claim holds
not reproduced     the whole interval lies where it fails
inconclusive       the interval reaches across, or one seed gave none
not evaluated      a run that it needs failed, is missing, or has no finite value
undecided          this scale does not decide it (smoke never does)
=================  ===============================================================================
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from suexp.errors import UserError
from suexp.judge.expression import Claim, Link, Metric, Slope, compare, evaluate
from suexp.judge.grammar import parse
from suexp.near import near
from suexp.store.summary import finals

__all__ = ["VERDICTS", "Claim", "check_claims", "check_metrics", "judge", "parse"]

VERDICTS = ("reproduced", "not reproduced", "inconclusive", "not evaluated", "undecided")
KEYS = ("text", "test", "scale")
SCALES = ("laptop", "paper")
_RANK = ("reproduced", "inconclusive", "not reproduced")


class _NotEvaluatedError(Exception):
    """A claim cannot be evaluated; the message says which run is to blame."""


class _Seed:
    """The runs of one seed, as the grammar wants to read them."""

    def __init__(self, seed: int, runs: Mapping[str, dict[str, Any]], known: list[str]) -> None:
        self.seed, self.runs, self.known = seed, runs, known

    def metric(self, name: str, arm: str) -> float:
        metrics = finals(self.run(arm))
        if name not in metrics:
            if name not in self.known:
                raise _NotEvaluatedError(f"no run recorded {name!r}{near(name, self.known)}")
            raise _NotEvaluatedError(f"{arm}, seed {self.seed}, recorded no {name}")
        return self.finite(metrics[name], name, arm)

    def read(self, leaf: Metric | Slope) -> float:
        if isinstance(leaf, Metric):
            return self.metric(leaf.name, leaf.arm)
        return leaf.fit(self.points(leaf))

    def points(self, slope: Slope) -> list[tuple[float, float]]:
        if len(slope.arms) > 1:
            return [(self.metric(slope.x, arm), self.metric(slope.y, arm)) for arm in slope.arms]
        (arm,) = slope.arms
        return [
            (self.finite(row[slope.x], slope.x, arm), self.finite(row[slope.y], slope.y, arm))
            for row in self.rows(slope, arm)
            if all(condition.holds(row) for condition in slope.where)
        ]

    def rows(self, slope: Slope, arm: str) -> list[dict[str, Any]]:
        """The rows of the one table of a run that has all the columns of a slope."""
        tables: dict[str, list[dict[str, Any]]] = self.run(arm).get("tables") or {}
        who = f"{arm}, seed {self.seed}"
        if slope.table is not None and slope.table not in tables:
            hint = near(slope.table, list(tables))
            raise _NotEvaluatedError(f"{who}, recorded no table {slope.table!r}{hint}")
        wanted = dict.fromkeys([slope.x, slope.y, *(c.column for c in slope.where)])
        names = [slope.table] if slope.table else list(tables)
        fitting = [
            n for n in names if tables[n] and all(wanted.keys() <= r.keys() for r in tables[n])
        ]
        if len(fitting) > 1:
            choice = " or ".join(f"`in {name}`" for name in fitting)
            raise _NotEvaluatedError(f"two tables have {', '.join(wanted)}: add {choice}")
        if not fitting:
            columns = list(dict.fromkeys(c for n in names for row in tables[n][:1] for c in row))
            absent = [c for c in wanted if c not in columns]
            hint = near(absent[0], columns) if absent else ""
            raise _NotEvaluatedError(
                f"{who}, recorded no table with {', '.join(absent or wanted)}{hint}"
            )
        return tables[fitting[0]]

    def run(self, arm: str) -> dict[str, Any]:
        run = self.runs.get(arm)
        if run is None:
            raise _NotEvaluatedError(f"there is no run of {arm}, seed {self.seed}")
        if run["status"] != "finished":
            error = f": {run['error']}" if run.get("error") else ""
            state = "was interrupted" if run["status"] == "interrupted" else run["status"]
            raise _NotEvaluatedError(f"{arm}, seed {self.seed}, {state}{error}")
        return run

    def finite(self, value: Any, name: str, arm: str) -> float:
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
        shown = "no number" if value is None else value
        raise ArithmeticError(f"{name} of {arm}, seed {self.seed}, is {shown}")


def check_claims(
    claims: Mapping[str, Any], arms: Iterable[str], scale: str | None = None
) -> dict[str, Claim]:
    """Parse the claims of an experiment and check what is known before any run.

    Args:
        claims: name -> {text, test, scale (optional: the only scale that decides it)}.
        arms: the arms of the experiment at this scale.
        scale: the scale of the run; arms are not asked of a claim that another scale decides.

    Raises:
        UserError: a key is missing or unknown, a test cannot be read, or an arm does not exist.
    """
    arms, parsed = list(arms), {}
    for name, claim in claims.items():
        if not isinstance(claim, Mapping) or not {"text", "test"} <= claim.keys():
            raise UserError(
                f"claims.{name} needs `text` (the sentence) and `test` (the comparison)"
            )
        for key in claim:
            if key not in KEYS:
                raise UserError(f"claims.{name} has no key {key!r}{near(str(key), list(KEYS))}")
        if claim.get("scale") not in (None, *SCALES):
            hint = near(str(claim["scale"]), list(SCALES))
            raise UserError(f"claims.{name}: scale {claim['scale']!r} decides nothing{hint}")
        parsed[str(name)] = parse(str(claim["test"]))
        if claim.get("scale") not in (None, scale):
            continue
        for arm in parsed[str(name)].arms:
            if arm not in arms:
                raise UserError(f"claims.{name} names an unknown arm {arm!r}{near(arm, arms)}")
    return parsed


def check_metrics(
    claims: Mapping[str, Any], runs: list[dict[str, Any]], scale: str | None = None
) -> None:
    """Refuse a claim on a metric that no finished run recorded.

    `judge` says the same in the claim's reason; this is for a caller that wants to stop early, or
    to end with an error when all results are safe.

    Raises:
        UserError: a misspelt metric, with its nearest match.
    """
    known = _known(runs)
    if not known:
        return
    for name, claim in claims.items():
        if claim.get("scale") not in (None, scale):
            continue
        for metric in parse(str(claim["test"])).metrics:
            if metric not in known:
                raise UserError(
                    f"claims.{name}: no run recorded the metric {metric!r}{near(metric, known)}"
                )


def judge(
    claims: dict[str, dict[str, Any]], runs: list[dict[str, Any]], scale: str
) -> list[dict[str, Any]]:
    """Judge every claim; what goes wrong with one never keeps the others from their verdict.

    Args:
        claims: name -> {text, test, scale (optional)}.
        runs: the runs of all arms and seeds in the form of results.json.
        scale: smoke, laptop or paper.

    Returns:
        One record a claim: id, text, test, verdict, estimate (mean of left - right), interval,
        left and right (means of the sides), relation, margin, n, per_seed, reason.

    Raises:
        UserError: a test cannot be read (`check_claims` finds that before any run).
    """
    return [_judge(str(name), claim, runs, scale) for name, claim in claims.items()]


def _judge(
    name: str, claim: dict[str, Any], runs: list[dict[str, Any]], scale: str
) -> dict[str, Any]:
    parsed = parse(str(claim["test"]))
    record: dict[str, Any] = {"id": name, "text": str(claim["text"]), "test": parsed.test}
    only = claim.get("scale")
    decides = scale != "smoke" and only in (None, scale)
    why_not = "smoke scale decides nothing"
    if scale != "smoke":
        why_not = f"only the {only} scale decides it"
    empty = dict.fromkeys(("estimate", "interval", "left", "right", "relation", "margin"))
    record |= {"verdict": "undecided", **empty, "n": 0, "per_seed": [], "reason": why_not}
    try:
        seeds = _seeds(runs)
        links = [_compare(link, seeds) for link in parsed.links]
    except _NotEvaluatedError as problem:
        if only in (None, scale):  # elsewhere its arms need not exist
            record |= {"verdict": "not evaluated", "reason": str(problem)}
        return record
    except ArithmeticError as problem:
        # A few steps may well leave a number that has no logarithm.
        if decides:
            record |= {"verdict": "not evaluated", "reason": str(problem)}
        return record
    # A chain is as good as its worst link.
    worst = max(links, key=lambda link: _RANK.index(link["verdict"]))
    if len(links) > 1:
        holds = worst["verdict"] == "reproduced"
        which = f"every link holds, shown is {worst['text']}" if holds else worst["text"]
        worst["reason"] = ": ".join(filter(None, [which, worst["reason"]]))
    del worst["text"]
    if not decides:
        worst |= {"verdict": "undecided", "reason": why_not}
    return record | worst


def _compare(link: Link, seeds: list[_Seed]) -> dict[str, Any]:
    """Compare the two sides of a link over the seeds."""
    from suexp.judge.intervals import (
        mean_interval,
    )  # numpy and scipy, which composing never needs

    left = [evaluate(link.left, seed.read) for seed in seeds]
    right = [evaluate(link.right, seed.read) for seed in seeds]
    per_seed = [a - b for a, b in zip(left, right, strict=True)]
    if not all(map(math.isfinite, per_seed)):
        raise ArithmeticError("a difference is not finite")
    mean, low, high, n = mean_interval(per_seed)
    verdict, reason = _verdict(link, low, high)
    return {
        "text": link.text,
        "verdict": verdict,
        "estimate": mean,
        "interval": None if low is None else [low, high],
        "left": math.fsum(left) / n,
        "right": math.fsum(right) / n,
        "relation": link.relation,
        "margin": link.margin,
        "n": n,
        "per_seed": per_seed,
        "reason": reason,
    }


def _verdict(link: Link, low: float | None, high: float | None) -> tuple[str, str | None]:
    if low is None or high is None:
        return "inconclusive", "one seed gives no interval"
    if link.margin is not None:
        if -link.margin <= low and high <= link.margin:
            return "reproduced", None
        if high < -link.margin or low > link.margin:
            return "not reproduced", None
        return "inconclusive", "the interval reaches across the margin"
    ends = [compare(end, link.relation, 0.0) for end in (low, high)]
    if all(ends):
        return "reproduced", None
    if not any(ends):
        return "not reproduced", None
    return "inconclusive", "the interval reaches both sides"


def _seeds(runs: list[dict[str, Any]]) -> list[_Seed]:
    """Group the runs by seed; every claim is asked of every seed, so that no gap goes unseen."""
    by_seed: dict[int, dict[str, dict[str, Any]]] = {}
    for run in runs:
        by_seed.setdefault(run["seed"], {})[run["arm"]] = run
    if not by_seed:
        raise _NotEvaluatedError("there are no runs")
    known = _known(runs)
    return [_Seed(seed, by_seed[seed], known) for seed in sorted(by_seed)]


def _known(runs: list[dict[str, Any]]) -> list[str]:
    finished = [run for run in runs if run["status"] == "finished"]
    return sorted({name for run in finished for name in finals(run)})
