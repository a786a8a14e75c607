"""Intervals of proportions: Wilson's, and Clopper and Pearson's."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = int | float | np.number[Any] | Sequence[int | float] | NDArray[Any]


class Interval(NamedTuple):
    """Lower and upper ends, element by element."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def wilson(successes: Numbers, trials: Numbers, confidence: float = 0.95) -> Interval:
    r"""Wilson's score interval of a proportion, for arrays of any (broadcastable) shape.

    $(\hat p + z^2/2n \pm z \sqrt{\hat p (1 - \hat p)/n + z^2/4n^2}) / (1 + z^2/n)$ (Wilson, 1927).
    Unlike Wald's it has a width at $\hat p = 0$ and 1.

    Args:
        successes: counts between 0 and trials.
        trials: positive counts.
        confidence: nominal coverage.

    Raises:
        ValueError: counts out of range, or a confidence outside (0, 1).
    """
    k, n = _counts(successes, trials)
    z2 = special.ndtri(1 - _tail(confidence)) ** 2
    # Written with k and n - k, so that the ends at k = 0 and k = n are 0 and 1 without rounding.
    half = np.sqrt(z2 * (k * (n - k) / n + z2 / 4))
    low = np.where(k == 0, 0.0, (k + z2 / 2 - half) / (n + z2))
    high = np.where(k == n, 1.0, (k + z2 / 2 + half) / (n + z2))
    return Interval(low, high)


def clopper_pearson(successes: Numbers, trials: Numbers, confidence: float = 0.95) -> Interval:
    r"""Exact interval of a proportion: the beta quantiles that invert the binomial tails.

    $[B^{-1}(\alpha/2; k, n-k+1),\ B^{-1}(1-\alpha/2; k+1, n-k)]$ (Clopper and Pearson, 1934);
    it covers at least as often as it says, and is wider than Wilson's.

    Args:
        successes: counts between 0 and trials.
        trials: positive counts.
        confidence: guaranteed coverage.

    Raises:
        ValueError: counts out of range, or a confidence outside (0, 1).
    """
    k, n = _counts(successes, trials)
    tail = _tail(confidence)
    # At k = 0 and k = n one beta law degenerates: its quantile is the end of the unit interval.
    low = np.where(k == 0, 0.0, special.betaincinv(np.maximum(k, 1), n - k + 1, tail))
    high = np.where(k == n, 1.0, special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail))
    return Interval(low, high)


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    return (1 - confidence) / 2


def _counts(successes: Numbers, trials: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k, n = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    )
    if np.any(n < 1) or np.any(k < 0) or np.any(k > n):
        raise ValueError("a proportion needs trials >= 1 and 0 <= successes <= trials")
    return k, n
