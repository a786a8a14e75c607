"""Student's t interval, over seeds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = int | float | np.number[Any] | Sequence[int | float] | NDArray[Any]


class Estimate(NamedTuple):
    """A mean with its interval; the ends are None where a single value allows none."""

    mean: float
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Numbers, confidence: float = 0.95) -> Estimate:
    r"""Mean with the t interval $\bar x \pm t_{n-1} s / \sqrt n$ (Student, 1908).

    Values without spread give a zero-width interval: a byte count that is the same for every seed
    is known exactly. A paired comparison is this interval of the differences.

    Args:
        values: n numbers.
        confidence: coverage of the interval when the values are normal.

    Raises:
        ValueError: no value at all, or a confidence outside (0, 1).
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size == 0:
        raise ValueError("an interval needs at least one value")
    tail = _tail(confidence)
    if x.size == 1:
        return Estimate(float(x[0]), None, None, 1)
    if x.min() == x.max():  # their floating-point mean may differ from them by a rounding
        return Estimate(float(x[0]), float(x[0]), float(x[0]), x.size)
    mean = float(x.mean())
    half = float(special.stdtrit(x.size - 1, 1 - tail) * x.std(ddof=1) / np.sqrt(x.size))
    return Estimate(mean, mean - half, mean + half, x.size)


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    return (1 - confidence) / 2
