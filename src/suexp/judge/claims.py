"""From claims and runs to verdicts.

Both sides of a claim are evaluated seed by seed, and their difference gets an interval over the
seeds (`suexp.judge.comparison`), at each planned look until the claim is decided.

============================  =====================================================================
verified                      it holds in every seed, and is declared `exact`: an identity, a count
reproduced                    the whole interval lies where the claim holds
held in n of n                it is asked of `every` seed, and holds in all of them
no difference that matters    the interval lies within +- `matters`
not reproduced                the whole interval lies where it fails; or one seed of `every` does
inconclusive                  the interval reaches across; the record says what would decide it
not evaluated                 a run that it needs failed, is missing, or recorded no number
undecided                     this scale does not decide it (smoke never does)
============================  =====================================================================
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from suexp.errors import UserError
from suexp.judge.expression import Claim
from suexp.judge.grammar import parse
from suexp.judge.looks import Seeding
from suexp.judge.reading import (
    NotEvaluatedError,
    diverged_in,
    known_metrics,
    seeds_of,
)
from suexp.near import near

if TYPE_CHECKING:
    from suexp.judge.sequence import Courses

__all__ = ["VERDICTS", "Claim", "check_claims", "check_metrics", "judge", "parse"]

VERDICTS = (
    "verified",
    "reproduced",
    "held in n of n",
    "no difference that matters",
    "not reproduced",
    "inconclusive",
    "not evaluated",
    "undecided",
)
# What speaks for a post, what against it, and what leaves it open.
GOOD = ("verified", "reproduced", "held in n of n")
BAD = ("not reproduced", "no difference that matters")
WAITING = ("inconclusive", "not evaluated", "undecided")
KEYS = ("text", "test", "scale", "exact", "matters")
SCALES = ("laptop", "paper")


def check_claims(
    claims: Mapping[str, Any], arms: Iterable[str], scale: str | None = None
) -> dict[str, Claim]:
    """Parse the claims of an experiment and check what is known before any run.

    Args:
        claims: name -> {text, test, and, where they are due, scale (the only one that decides it),
            exact (an identity or a count: no interval), matters (a difference that is none)}.
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
        _check_kind(str(name), claim, parsed[str(name)])
        if claim.get("scale") not in (None, scale):
            continue
        for arm in parsed[str(name)].arms:
            if arm not in arms:
                raise UserError(f"claims.{name} names an unknown arm {arm!r}{near(arm, arms)}")
    return parsed


def _check_kind(name: str, claim: Mapping[str, Any], parsed: Claim) -> None:
    """Refuse keys that contradict the test; their types the experiment's form has checked."""
    exact, matters = claim.get("exact"), claim.get("matters")
    if exact and parsed.every:
        raise UserError(f"claims.{name}: an exact claim holds in every seed; leave out `every`")
    if matters is not None and (exact or parsed.every):
        raise UserError(f"claims.{name}: `matters` is of an interval, which this claim has not")


def check_metrics(
    claims: Mapping[str, Any], runs: list[dict[str, Any]], scale: str | None = None
) -> None:
    """Refuse a claim on a metric that no finished run recorded.

    `judge` says the same in the claim's reason; this is for a caller that wants to stop early, or
    to end with an error when all results are safe.

    Raises:
        UserError: a misspelt metric, with its nearest match.
    """
    known = known_metrics(runs)
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
    claims: Mapping[str, Mapping[str, Any]],
    runs: Sequence[dict[str, Any]],
    scale: str,
    seeding: Seeding | None = None,
) -> list[dict[str, Any]]:
    """Judge every claim; what goes wrong with one never keeps the others from their verdict.

    Args:
        claims: name -> {text, test, and scale, exact, matters where they are due}.
        runs: the runs of all arms and seeds in the form of results.json.
        scale: smoke, laptop or paper.
        seeding: when one looks; None: once, at the seeds that there are.

    Returns:
        One record a claim: id, text, test, verdict, estimate (mean of left - right, on the scale
        `judged`), interval, left and right (means of the sides), relation, margin, n, per_seed,
        reason; `looks` that were made, `next` (look and arms) where it is open, `needs` (about how
        many seeds and seconds more would decide it), `links` where several are compared, `fits`
        (the points of slopes), `diverged` (arm, seed and step of the runs that did), `holm`
        (whether it stands among all claims of the experiment).

    Raises:
        UserError: a test cannot be read (`check_claims` finds that before any run).
    """
    from suexp.judge.sequence import holm  # numpy and scipy, which composing never needs

    found = [_judge(str(name), claim, runs, scale, seeding) for name, claim in claims.items()]
    holm(found)
    return [record for record, _ in found]


def _judge(
    name: str,
    claim: Mapping[str, Any],
    runs: Sequence[dict[str, Any]],
    scale: str,
    seeding: Seeding | None,
) -> "tuple[dict[str, Any], Courses | None]":
    """Return the record of a claim, and what was found of it look by look, where it was."""
    from suexp.judge.sequence import each, over_looks

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
        seeds = seeds_of(runs)
        if claim.get("exact") or parsed.every:
            found, courses = each(parsed, seeds, bool(claim.get("exact"))), None
        else:
            found, courses = over_looks(parsed, seeds, seeding, claim.get("matters"))
    except NotEvaluatedError as problem:
        if only in (None, scale):  # elsewhere its arms need not exist
            record |= {"verdict": "not evaluated", "reason": str(problem)}
        return record, None
    except ArithmeticError as problem:
        # A few steps may well leave a number that has no logarithm.
        if decides:
            record |= {"verdict": "not evaluated", "reason": str(problem)}
        return record, None
    if diverged := diverged_in(seeds, parsed.arms):
        found["diverged"] = diverged
    if not decides:
        found |= {"verdict": "undecided", "reason": why_not, "next": None, "needs": None}
    return record | found, courses
