"""A claim's verdict as people read it: in the terminal, in Markdown, in HTML, in wandb."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suexp.errors import UserError
from suexp.judge.expression import leaves
from suexp.judge.grammar import parse
from suexp.report import wording as readable
from suexp.report.wording import Real

MARKS = {
    "verified": "☑️",
    "reproduced": "✅",
    "held in n of n": "✅",
    "no difference that matters": "🟰",
    "not reproduced": "❌",
    "inconclusive": "➖",
    "not evaluated": "⚠️",
    "undecided": "⏳",
}
MANY = 1000  # seeds of which it is no use to say how many
_SIGNS = {"<=": "≤", ">=": "≥"}


@dataclass(frozen=True)
class Plot:
    """One interval as a picture, in a box 200 wide: positions of everything on it."""

    dot: float
    low: float | None
    high: float | None
    holds_from: float
    holds_to: float
    borders: tuple[float, ...]


@dataclass(frozen=True)
class Judged:
    """One row of the verdict table.

    Attributes:
        verdict: one of the judge's words.
        label: the same, with its numbers: held in 5 of 5.
        reason: why it is so.
        estimate: the quantity with its interval.
        allowed: what the quantity is held against.
        sides: the means of both sides, and over how many seeds.
        notes: what else a reader should know of the interval.
    """

    id: str
    text: str
    test: str
    verdict: str
    label: str
    reason: str | None
    estimate: str | None
    allowed: str | None
    sides: str | None
    notes: list[str]
    plot: Plot | None


def in_words(verdict: str, n: int) -> str:
    """Return a verdict with its number of seeds, where it is a count of them."""
    return f"held in {n} of {n}" if verdict == "held in n of n" else verdict


def judged(claim: Mapping[str, Any]) -> Judged:
    """Return a claim's record in words."""
    estimate, interval = claim.get("estimate"), claim.get("interval")
    shown = allowed = sides = plot = None
    if estimate is not None:
        bound = claim.get("bound") or 0.0
        low, high = interval or (None, None)
        shown = _estimate(claim, estimate, low, high)
        allowed = _allowed(claim, bound)
        sides = _sides(claim, not _compares_arms(claim))
        if low is not None and high is not None and claim.get("relation"):
            plot = _plot(claim, estimate, low, high, bound)
    verdict = str(claim["verdict"])
    n = claim.get("n") or 0
    label = in_words(verdict, n)
    return Judged(
        id=str(claim["id"]),
        text=str(claim["text"]),
        test=str(claim["test"]),
        verdict=verdict,
        label=f"{label}, provisional" if claim.get("provisional") else label,
        reason=claim.get("reason"),
        estimate=shown,
        allowed=allowed,
        sides=sides,
        notes=_notes(claim),
        plot=plot,
    )


def _estimate(claim: Mapping[str, Any], mean: Real, low: Real | None, high: Real | None) -> str:
    """Return ``lion - adamw = +0.212 [0.179, 0.246]``."""
    if claim.get("judged") == "signs":
        votes = claim.get("per_seed") or []
        return f"left larger in {sum(v > 0 for v in votes)}, smaller in {sum(v < 0 for v in votes)}"
    value = readable.with_interval(mean, low, high)
    quantity = claim.get("quantity")
    if not quantity:
        return value
    difference = claim.get("judged") == "difference" and " - " in quantity
    return f"{quantity} = {'+' if difference and mean > 0 else ''}{value}"


def _allowed(claim: Mapping[str, Any], bound: Real) -> str | None:
    """Return ``≤ 0.03``."""
    relation, margin = claim.get("relation"), claim.get("margin")
    if not relation or claim.get("judged") == "signs":
        return None
    if margin is not None:
        return f"{readable.number(bound)} ± {readable.number(margin)}"
    return f"{_SIGNS.get(relation, relation)} {readable.number(bound)}"


def _sides(claim: Mapping[str, Any], constant: bool) -> str:
    n, left, right = claim.get("n") or 0, claim.get("left"), claim.get("right")
    seeds = f"{n} seed{'s' * (n != 1)}"
    if constant or left is None or right is None:
        return seeds
    low, high = claim.get("interval") or (0.0, 0.0)
    half = (high - low) / 2 if claim.get("judged", "difference") == "difference" else 0.0
    return f"{' against '.join(readable.aligned([left, right], half))}, {seeds}"


def _notes(claim: Mapping[str, Any]) -> list[str]:
    notes = []
    notes += diverged(claim.get("diverged") or [])
    if claim.get("needs"):
        notes.append(f"needs {needs(claim['needs'])}")
    elif "needs" in claim and claim["verdict"] == "inconclusive" and not claim.get("provisional"):
        notes.append("needs other runs: more seeds like these would not decide it")
    looks = claim.get("looks") or []
    if len(looks) > 1:
        notes.append(f"looked at {', '.join(str(look['n']) for look in looks)} seeds")
    if claim.get("sign_flip_p") is not None:
        notes.append(f"p by sign flips {readable.number(claim['sign_flip_p'], 2)}")
    if claim.get("holm") is False:
        notes.append("does not stand among all claims of this card (Holm)")
    return notes


def diverged(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return ``sgd diverged at step 37 (seed 0), 41 (seed 1)``, a line an arm."""
    arms: dict[str, list[str]] = {}
    for run in runs:
        arms.setdefault(str(run["arm"]), []).append(f"{run['step']} (seed {run['seed']})")
    return [f"{arm} diverged at step {', '.join(steps)}" for arm, steps in arms.items()]


def needs(need: Mapping[str, Any]) -> str:
    """Return what would decide an open claim.

    >>> needs({"seeds": 7, "seconds": 255.0}), needs({"seeds": 40_000, "seconds": 1e6})
    ('about 7 more seeds (4 min 15 s of runs)', 'more than 1,000 further seeds')
    """
    seeds = int(need["seeds"])
    if seeds > MANY:
        return f"more than {MANY:,} further seeds"
    time = f" ({readable.duration(need['seconds'])} of runs)" if need["seconds"] else ""
    return f"about {seeds} more seed{'s' * (seeds != 1)}{time}"


def _compares_arms(claim: Mapping[str, Any]) -> bool:
    try:
        links = parse(str(claim["test"])).links
    except UserError:
        return True
    return len(links) != 1 or any(leaves(links[0].right))


def _plot(claim: Mapping[str, Any], estimate: Real, low: Real, high: Real, bound: Real) -> Plot:
    margin, relation = claim.get("margin"), str(claim["relation"])
    if claim.get("judged") == "ratio":  # as far from 1 as it is judged
        estimate, low, high, bound = (math.log(x) for x in (estimate, low, high, bound))
    borders = [bound] if margin is None else [bound - margin, bound + margin]
    start, end = min(low, *borders, bound), max(high, *borders, bound)
    room = (end - start or abs(estimate) or 1.0) * 0.12
    start, end = start - room, end + room

    def place(value: Real) -> float:
        return round(200 * (value - start) / (end - start), 1)

    holds = {"<": (0.0, place(bound)), ">": (place(bound), 200.0)}.get(relation[0])
    holds_from, holds_to = holds or (place(borders[0]), place(borders[-1]))
    return Plot(
        dot=place(estimate),
        low=place(low) if high > low else None,
        high=place(high) if high > low else None,
        holds_from=holds_from,
        holds_to=holds_to,
        borders=tuple(place(border) for border in borders),
    )
