"""Two sides of a comparison over seeds: on which scale, how far apart, and what that decides.

difference   left - right
ratio        log left - log right, where one is compared with a multiple of the other
signs        which is larger, seed by seed, where a value is infinite
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from suexp.judge.critical import ALPHA
from suexp.judge.expression import Link

# What of a rounding error is no spread.
_TINY = 1e-12
# Of a sign-flip test at most.
FLIPS = 9999
# Seeds more than which no vote waits for.
MOST_VOTES = 100


@dataclass(frozen=True)
class Comparison:
    """The paired values of a link, one a seed.

    Attributes:
        link: the comparison.
        left, right: its sides.
        overlap: rows that judge / rows that train, where each seed splits one set anew; the
            variance of the mean is then $(1/n + overlap) s^2$ (Nadeau and Bengio, Inference for
            the Generalization Error, 2003).
    """

    link: Link
    left: tuple[float, ...]
    right: tuple[float, ...]
    overlap: float = 0.0

    def __post_init__(self) -> None:
        if any(map(math.isnan, (*self.left, *self.right))):
            raise ArithmeticError("a side is no number")

    @functools.cached_property
    def n(self) -> int:
        """The number of seeds."""
        return len(self.left)

    @functools.cached_property
    def pairs(self) -> list[tuple[float, float]]:
        """Left and right, seed by seed."""
        return list(zip(self.left, self.right, strict=True))

    @functools.cached_property
    def scale(self) -> str:
        """On what the sides are compared."""
        if not all(map(math.isfinite, (*self.left, *self.right))):
            return "signs"
        positive = all(value > 0 for value in (*self.left, *self.right))
        return "ratio" if self.link.by_factor and positive else "difference"

    @functools.cached_property
    def per_seed(self) -> tuple[float, ...]:
        """The differences, on the scale; positive where the left side is larger."""
        if self.scale == "signs":
            return tuple(float((a > b) - (a < b)) for a, b in self.pairs)
        if self.scale == "ratio":
            return tuple(math.log(a) - math.log(b) for a, b in self.pairs)
        return tuple(a - b for a, b in self.pairs)

    @functools.cached_property
    def mean(self) -> float:
        """The mean difference."""
        values = self.per_seed
        # Values without spread: their floating-point mean may differ from them by a rounding.
        return values[0] if max(values) == min(values) else math.fsum(values) / self.n

    @functools.cached_property
    def constant(self) -> bool:
        """Whether the seeds vary neither side: then there is one value, not n."""
        return self.n > 1 and all(_spread(side) == 0 for side in (self.left, self.right))

    @functools.cached_property
    def deviation(self) -> float:
        r"""The standard deviation of the differences.

        Where they have none though the sides vary, they are multiples of a step, a count's say: it
        is then that of a value rounded to the step, $1 / \sqrt{12}$ of it.
        """
        return _spread(self.per_seed) or self._step() / math.sqrt(12)

    def _step(self) -> float:
        """The smallest distance of two values of a side."""
        if self.constant or self.scale == "signs":
            return 0.0
        of = math.log if self.scale == "ratio" else float
        sides = (sorted(map(of, side)) for side in (self.left, self.right))
        gaps = [b - a for side in sides for a, b in itertools.pairwise(side)]
        return min((gap for gap in gaps if gap > _TINY), default=0.0)

    @functools.cached_property
    def error(self) -> float:
        """The standard error of the mean, widened where splits of one set overlap."""
        return self.deviation * math.sqrt(1 / self.n + self.overlap)

    @functools.cached_property
    def t(self) -> float:
        """The mean's distance from the border in standard errors."""
        distance = abs(self.mean) if self.link.margin is None else self._beyond()
        return math.inf if self.error == 0 else distance / self.error

    def _beyond(self) -> float:
        assert self.link.margin is not None
        return abs(abs(self.mean) - self.link.margin)

    @property
    def apart(self) -> bool:
        """Whether one side is a multiple and the two are subtracted: no ratio is to be told."""
        return self.link.by_factor and self.scale != "ratio"

    @property
    def bound(self) -> float:
        """What the quantity is held against."""
        return 0.0 if self.apart else self.link.bound

    @property
    def quantity(self) -> str | None:
        """The quantity in words, where there are few."""
        return None if self.apart else self.link.quantity

    def told(self, value: float) -> float:
        """Return a difference of the scale as the quantity that the link bounds."""
        if self.scale == "ratio":
            return math.exp(value) * self.bound
        return value if self.scale == "signs" else value + self.bound

    def interval(self, c: float) -> tuple[float, float] | None:
        """Return mean +- c errors; None where one value allows none."""
        if self.n < 2 or self.constant or self.scale == "signs" or not math.isfinite(c):
            return None
        return self.mean - c * self.error, self.mean + c * self.error

    def decided(self, c: float, share: float) -> bool | None:
        """Tell whether the link holds; None: that is open.

        Args:
            c: the half width of the interval, in errors.
            share: the probability of an error that this look may have, both sides together.
        """
        if self.scale == "signs":
            return self._by_signs(share)
        ends = self.interval(c)
        if ends is None:
            return None
        if self.link.margin is not None:
            inside = [abs(end) <= self.link.margin for end in ends]
            apart = ends[1] < -self.link.margin or ends[0] > self.link.margin
            return True if all(inside) else False if apart else None
        held = [self.link.holds(end, 0.0) for end in ends]
        return True if all(held) else None if any(held) else False

    def _by_signs(self, share: float) -> bool | None:
        """Judge by the seeds' votes: a binomial test; ties vote for neither."""
        votes = [self.link.holds(a, b) for a, b in self.pairs if a != b]
        for verdict in (True, False):
            if votes and 2 * stats.binom.sf(votes.count(verdict) - 1, len(votes), 0.5) <= share:
                return verdict
        return None

    def within(self, matters: float, c: float) -> bool:
        """Tell whether the interval lies within what makes no difference.

        Args:
            matters: a difference, or a part of the right side on the scale of ratios.
            c: the half width of the interval, in errors.
        """
        ends = self.interval(c)
        border = math.log1p(matters) if self.scale == "ratio" else matters
        return ends is not None and -border <= ends[0] and ends[1] <= border

    def needed(self, matters: float | None, c: float = 1.96, slack: float = 1.0) -> float:
        """Return about how many seeds would decide it, of ten eight times, at the present figures.

        Either direction, or, with ``matters``, that there is no difference; infinite where no
        number would: the error has a floor where splits of one set overlap.

        Args:
            matters: what makes no difference.
            c: the half width of the interval that decides, in errors.
            slack: how many times smaller the variance may turn out.
        """
        if self.scale == "signs":
            return self._votes_needed() / slack
        if self.n < 2 or self.deviation == 0:
            return math.inf
        reach = (c + 0.84) * self.deviation
        distances = [abs(self.mean) if self.link.margin is None else self._beyond()]
        if matters is not None:
            distances.append(max(matters - abs(self.mean), 0.0))
        share = slack * (max(distances) / reach) ** 2 - self.overlap
        return 1 / share if share > 0 else math.inf

    def _votes_needed(self) -> float:
        """Return after how many seeds the votes decide, if all that follow are the majority's."""
        votes = [self.link.holds(a, b) for a, b in self.pairs if a != b]
        most = max(votes.count(True), votes.count(False))
        for more in range(MOST_VOTES):
            if 2 * stats.binom.sf(most + more - 1, len(votes) + more, 0.5) <= ALPHA:
                return float(self.n + more)
        return math.inf

    def sign_flips(self) -> float | None:
        """Return the p of a sign-flip test of the mean at the border, from 8 seeds on."""
        if self.n < 8 or self.scale == "signs" or self.link.margin is not None:
            return None
        if self.deviation == 0 or self.constant:
            return None
        values = np.array(self.per_seed)
        observed = float(values.mean())
        signs = _signs(self.n)
        means = signs @ values / self.n
        near = _TINY * float(np.abs(values).max())  # the same sum in another order
        sides = ((means <= observed + near).sum(), (means >= observed - near).sum())
        drawn = len(signs) < 2**self.n
        return float(min(1.0, 2 * (min(sides) + drawn) / (len(signs) + drawn)))


@functools.lru_cache(maxsize=16)
def _signs(n: int) -> NDArray[np.float64]:
    """Return every choice of n signs, a row each, or many at random where those are too many."""
    if 2**n <= FLIPS:
        return np.array([*itertools.product((-1.0, 1.0), repeat=n)])
    return np.random.default_rng(0).choice((-1.0, 1.0), (FLIPS, n))


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation; 0 where it is a rounding error."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return 0.0 if len(set(values)) < 2 else math.inf
    largest = max(map(abs, values))
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((x - mean) * (x - mean) for x in values) / (len(values) - 1))
    return spread if spread > _TINY * largest else 0.0
