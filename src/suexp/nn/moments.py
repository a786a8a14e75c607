"""Means and scatter of classes of vectors, in one pass that loses no digits.

Reference: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance,
https://doi.org/10.1080/00031305.1983.10483115.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Moments(NamedTuple):
    r"""What is known of rows x with classes c: $n_c$, $\mu_c$ and $\sum_i (x_i-\mu)(x_i-\mu)^\top$.

    The scatter is taken around each row's own class mean; of its matrix only the diagonal may be
    kept. With one class these are the moments of all rows.
    """

    rows: Float[Tensor, " c"]
    mean: Float[Tensor, "c d"]
    scatter: Float[Tensor, "d d"] | Float[Tensor, " d"]


def moments(
    x: Float[Tensor, "b d"], label: Int[Tensor, " b"], num_classes: int, full: bool = True
) -> Moments:
    """Return the moments of a batch.

    Args:
        x: rows; float64 if the result is to be.
        label: their classes, below ``num_classes``.
        num_classes: number of classes.
        full: keep the scatter's matrix; false: its diagonal.
    """
    count = x.new_zeros(num_classes).index_add_(0, label, x.new_ones(len(x)))
    total = x.new_zeros(num_classes, x.shape[1]).index_add_(0, label, x)
    mean = total / count.clamp(min=1)[:, None]
    centred = x - mean[label]
    return Moments(count, mean, centred.mT @ centred if full else centred.square().sum(0))


def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of both sets of rows together.

    The means' distance is used, not a difference of squares, which loses every digit where the
    means are large beside the spread.
    """
    count = a.rows + b.rows
    share = (b.rows / count.clamp(min=1))[:, None]
    distance = b.mean - a.mean
    between = _scatter(distance, a.rows[:, None] * share, a.scatter.ndim == 2)
    return Moments(count, a.mean + share * distance, a.scatter + b.scatter + between)


def merge_all(own: Moments, add: Callable[[Tensor], Tensor]) -> Moments:
    """Return the moments of all processes' rows, given what adds a tensor up over them."""
    count = add(own.rows)
    mean = add(own.mean * own.rows[:, None]) / count.clamp(min=1)[:, None]
    between = _scatter(own.mean - mean, own.rows[:, None], own.scatter.ndim == 2)
    return Moments(count, mean, add(own.scatter + between))


def total(within: Moments) -> Moments:
    """Return the moments of all rows as of one class."""
    rows = within.rows.sum()
    mean = (within.mean * within.rows[:, None]).sum(0, keepdim=True) / rows.clamp(min=1)
    between = _scatter(within.mean - mean, within.rows[:, None], within.scatter.ndim == 2)
    return Moments(rows[None], mean, within.scatter + between)


def _scatter(distance: Tensor, weight: Tensor, full: bool) -> Tensor:
    return distance.mT @ (weight * distance) if full else (weight * distance.square()).sum(0)
