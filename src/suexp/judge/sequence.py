"""A claim's comparisons, look by look, until their intervals decide it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from suexp.judge.comparison import Comparison
from suexp.judge.critical import ALPHA, factor
from suexp.judge.expression import Claim, Link, Slope, evaluate
from suexp.judge.looks import LOOKS, Seeding
from suexp.judge.reading import NotEvaluatedError, Seed

# A comparison is given up when it would need so many times the seeds that are planned.
FUTILE = 5
OPEN, HELD, FAILED = "inconclusive", "reproduced", "not reproduced"
SAME = "no difference that matters"


@dataclass
class Course:
    """One comparison of a claim at the looks that were made.

    Attributes:
        link: the comparison.
        at: the planned looks; None: there is no last.
        matters: a difference below which there is none that matters.
        shares: among how many comparisons alpha is shared, for each of the two outcomes: all
            must hold, so that each may fail by chance; or one is enough, which each may be.
        made: what was found at each look, until it was decided.
    """

    link: Link
    at: tuple[int, ...] | None
    matters: float | None
    shares: dict[bool, int]
    made: list[Comparison] = field(default_factory=list)
    _known: dict[tuple[int, float], str] = field(default_factory=dict)

    @property
    def last(self) -> Comparison:
        """What was found at the last look."""
        return self.made[-1]

    def verdict(self, alpha: float = ALPHA) -> str:
        """Return the verdict of the first look that decides."""
        asked = len(self.made), alpha
        if asked not in self._known:
            self._known[asked] = self._verdict(alpha)
        return self._known[asked]

    def _verdict(self, alpha: float) -> str:
        for place, found in enumerate(self.made):
            for outcome, sharers in self.shares.items():
                c = factor(found.n, self.at, alpha / sharers)
                share = alpha / sharers / self._parts(place)
                if found.decided(c, share) is outcome:
                    return HELD if outcome else FAILED
            if self.matters and found.within(self.matters, factor(found.n, self.at, alpha)):
                return SAME
        return OPEN

    def _parts(self, place: int) -> int:
        """Return into how many parts alpha goes, of which this look has one."""
        return len(self.at) if self.at is not None else (place + 1) * (place + 2)

    @property
    def needed(self) -> float:
        """About how many seeds it takes in all; beyond the last look, in a plan like this one."""
        n, wider = self.last.n, 1.0
        if self.at is not None and n == self.at[-1] and n > 1:
            wider = factor(n, self.at) / factor(n, (n,))  # than the interval of one look
        return self.last.needed(self.matters, 1.96 * wider)

    @property
    def futile(self) -> bool:
        """Whether it is given up."""
        last = self.at[-1] if self.at else LOOKS[-1]
        return self.last.needed(self.matters, slack=FUTILE) > last

    @property
    def reason(self) -> str | None:
        """Why it is open."""
        if self.verdict() != OPEN:
            return None
        if self.last.n < 2:
            return "one seed gives no interval"
        if self.last.constant:
            return "the seeds vary neither side: there is one value, and no interval"
        if self.last.scale == "signs":
            return "a value is infinite, and the seeds' votes are too few"
        across = "both sides" if self.link.margin is None else "across the margin"
        return f"the interval reaches {across}"


@dataclass
class Courses:
    """All comparisons of a claim."""

    claim: Claim
    made: list[Course]

    def verdict(self, alpha: float = ALPHA) -> str:
        """Return the verdict of all together."""
        verdicts = [course.verdict(alpha) for course in self.made]
        # The first that is there decides.
        order = (HELD, OPEN, SAME, FAILED) if self.claim.some else (FAILED, SAME, OPEN, HELD)
        return next(verdict for verdict in order if verdict in verdicts)

    @property
    def waiting(self) -> list[Course]:
        """Those that are open."""
        return [course for course in self.made if course.verdict() == OPEN]

    @property
    def live(self) -> list[Course]:
        """Those that are open and not given up."""
        return [course for course in self.waiting if not course.futile]


def compared(link: Link, seeds: Sequence[Seed]) -> Comparison:
    """Evaluate both sides of a link in each seed."""
    left = tuple(evaluate(link.left, seed.read) for seed in seeds)
    right = tuple(evaluate(link.right, seed.read) for seed in seeds)
    return Comparison(link, left, right, _overlap(link, seeds))


def _overlap(link: Link, seeds: Sequence[Seed]) -> float:
    """Return rows that judge / rows that train, where the seeds split one set differently."""
    overlap = 0.0
    for arm in link.arms:
        splits = [seed.run(arm).get("split") or {} for seed in seeds]
        if len({split.get("seed") for split in splits}) > 1:
            overlap = max(overlap, *(split["judge"] / split["train"] for split in splits))
    return overlap


def over_looks(
    claim: Claim, seeds: Sequence[Seed], seeding: Seeding | None, matters: float | None
) -> tuple[dict[str, Any], Courses]:
    """Judge a claim at the planned looks for which there are runs: its record, and what was found.

    Raises:
        NotEvaluatedError: a run of the first look is missing or failed, or a later one failed.
        ArithmeticError: a side is no number.
    """
    several = len(claim.links)
    shares = {True: several, False: 1} if claim.some else {True: 1, False: several}
    planned = seeding if seeding is not None else Seeding(tuple(seed.seed for seed in seeds))
    unbounded = planned.fixed is None and planned.at_most is None
    at = None if unbounded else tuple(planned.looks)
    courses = Courses(claim, [Course(link, at, matters, shares) for link in claim.links])
    there = {seed.seed: seed for seed in seeds}
    following: int | None = None
    for place, n in enumerate(planned.looks):
        waiting = courses.waiting
        if courses.verdict() != OPEN:
            break
        members = [there.get(number) for number in planned.seeds(n)]
        if place:
            # What is given up is looked at again only if others had its arms run.
            waiting = [course for course in waiting if _ran(course.link, members)]
            if not waiting or not all(_ran(course.link, members) for course in courses.live):
                following = n
                break
        if None in members:
            raise NotEvaluatedError(f"there are no runs of {len(there)} of {n} seeds")
        for course in waiting:
            course.made.append(compared(course.link, [seed for seed in members if seed]))
    return _record(courses, seeds, following), courses


def _ran(link: Link, seeds: Sequence[Seed | None]) -> bool:
    """Tell whether all that a link compares was run in these seeds."""
    return all(seed is not None and all(map(seed.ran, link.arms)) for seed in seeds)


def _record(courses: Courses, seeds: Sequence[Seed], following: int | None) -> dict[str, Any]:
    claim, verdict = courses.claim, courses.verdict()
    # The comparison that decides is shown, the closest of several.
    deciding = [course for course in courses.made if course.verdict() == verdict]
    closest = max if claim.some else min
    chosen = closest(deciding, key=lambda course: course.last.t)
    reason = chosen.reason
    if len(courses.made) > 1:
        name = chosen.link.text
        if verdict == HELD:
            name = f"{'one' if claim.some else 'every'} link holds, shown is {name}"
        reason = ": ".join(filter(None, [name, reason]))
    waiting = courses.waiting
    live = courses.live if verdict == OPEN else []
    needed = max((course.needed for course in waiting), default=math.inf)
    n = chosen.last.n
    record: dict[str, Any] = {
        **shown(chosen.last, chosen.at),
        "verdict": verdict,
        "reason": reason,
        "looks": [_look(found, chosen.at) for found in chosen.made],
        "sign_flip_p": chosen.last.sign_flips(),
        "next": None,
        "needs": None,
    }
    if verdict == OPEN and live and following is not None:
        arms = list(dict.fromkeys(arm for course in live for arm in course.link.arms))
        record["next"] = {"look": following, "arms": arms}
    if verdict == OPEN and (math.isfinite(needed) or n < 2):
        least = following or n + 1  # nobody looks before the next look
        more = max(math.ceil(needed) if math.isfinite(needed) else LOOKS[0], least) - n
        record["needs"] = {"seeds": more, "seconds": more * _seconds(claim, seeds)}
    if len(courses.made) > 1:
        record["links"] = [
            {"text": course.link.text, "verdict": course.verdict(), **shown(course.last, course.at)}
            for course in courses.made
        ]
    fits = _fits(claim, seeds[:n])
    return record | ({"fits": fits} if fits else {})


def shown(found: Comparison, at: Sequence[int] | None) -> dict[str, Any]:
    """Return what is told of a comparison: the quantity, its interval, what it is held against."""
    link, n = found.link, found.n
    interval = found.interval(factor(n, at)) if found.scale != "signs" else None
    return {
        "judged": found.scale,
        "quantity": found.quantity,
        "relation": link.relation,
        "bound": found.bound,
        "margin": link.margin,
        "estimate": found.told(found.mean),
        "interval": None if interval is None else [found.told(end) for end in interval],
        "left": math.fsum(found.left) / n,
        "right": math.fsum(found.right) / n,
        "n": n,
        "per_seed": [found.told(value) for value in found.per_seed],
    }


def _look(found: Comparison, at: Sequence[int] | None) -> dict[str, Any]:
    c = factor(found.n, at)
    ends = found.interval(c)
    return {
        "n": found.n,
        "estimate": found.told(found.mean),
        "interval": None if ends is None else [found.told(end) for end in ends],
        "critical": c if math.isfinite(c) else None,
        "t": found.t if math.isfinite(found.t) else None,
    }


def _seconds(claim: Claim, seeds: Sequence[Seed]) -> float:
    """Return how long the claim's runs of one seed take, one after the other."""
    times = [
        (seed.runs[arm].get("cost") or {}).get("wall_seconds") or 0.0
        for seed in seeds
        for arm in claim.arms
        if arm in seed.runs
    ]
    return math.fsum(times) / len(times) * len(claim.arms) if times else 0.0


def _fits(claim: Claim, seeds: Sequence[Seed]) -> dict[str, list[list[list[float]]]]:
    """Return the points to which slopes were fitted, seed by seed."""
    slopes = [leaf for leaf in claim.leaves if isinstance(leaf, Slope)]
    return {
        str(slope): [[[x, y] for x, y in seed.points(slope)] for seed in seeds] for slope in slopes
    }


def each(claim: Claim, seeds: Sequence[Seed], exact: bool) -> dict[str, Any]:
    """Ask every seed that has all the arms.

    Raises:
        NotEvaluatedError: no seed has.
        ArithmeticError: a side is no number.
    """
    there = [seed for seed in seeds if all(arm in seed.runs for arm in claim.arms)]
    if not there:
        raise NotEvaluatedError(f"no seed has runs of {', '.join(claim.arms)}")
    every = [compared(link, there) for link in claim.links]
    held = [[c.link.holds(a, b) for a, b in c.pairs] for c in every]
    enough = any if claim.some else all
    verdicts = [enough(votes) for votes in zip(*held, strict=True)]
    good = "verified" if exact else "held in n of n"
    worst = min(every, key=lambda c: sum(c.link.holds(a, b) for a, b in c.pairs))
    failed = [str(seed.seed) for seed, holds in zip(there, verdicts, strict=True) if not holds]
    reason = None
    if failed:
        which = f"{worst.link.text}: " if len(every) > 1 else ""
        reason = f"{which}fails in seed {', '.join(failed)}"
    return {
        **shown(worst, (worst.n,)),
        "interval": None,
        "verdict": "not reproduced" if failed else good,
        "judged": "exact" if exact else "every",
        "reason": reason,
    }


def holm(found: Sequence[tuple[dict[str, Any], Courses | None]]) -> None:
    """Mark the decided claims of an experiment that stand when all may err 5 % together.

    Holm (1979): the claim with the smallest p is asked for alpha / m, the next for alpha / (m - 1).
    """
    judged = [(record, courses) for record, courses in found if courses is not None]
    many = len(judged)

    def strength(record: dict[str, Any], courses: Courses) -> int:
        """Among how many claims alpha may be shared for the verdict to stay."""
        stays = 1
        for sharers in range(2, many + 1):
            if courses.verdict(ALPHA / sharers) != record["verdict"]:
                break
            stays = sharers
        return stays

    standing = True
    decided = [item for item in judged if item[0]["verdict"] in (HELD, FAILED, SAME)]
    ranked = sorted(((strength(*item), item[0]) for item in decided), key=lambda item: -item[0])
    for place, (stays, record) in enumerate(ranked):
        standing = standing and stays >= many - place
        record["holm"] = standing
