"""Sums of Mitchell's products, in two passes over them: an addition of integers, and the sum."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.arithmetic._bits import bits, layout
from suexp.arithmetic.base import MOST


def added(x: Float[Tensor, "r i"], w: Float[Tensor, "o i"], offset: int) -> Float[Tensor, "r o"]:
    r"""Return $\sum_i$ bits(x) + bits(w) - bits(1) + offset, read as numbers, without guards."""
    a, b = bits(x), bits(w) - (layout(x.dtype).one - offset)
    rows = max(1, MOST // max(b.numel(), 1))
    held = torch.empty((min(rows, len(a)), *b.shape), dtype=a.dtype, device=a.device)
    y = torch.empty((len(a), len(b)), dtype=x.dtype, device=x.device)
    for start in range(0, len(a), rows):
        part = a[start : start + rows, None]
        products = torch.add(part, b, out=held[: len(part)]).view(x.dtype)
        torch.sum(products, -1, out=y[start : start + rows])
    return y


class Unit:
    r"""Rows $x = 2^e u$ with $\max |u|$ from 1 to 4, and a small power of two for zeros in u.

    No product of two such u leaves the range, so that it needs no guard.

    Attributes:
        exponent: e, (rows, 1).
        values: u.
        floor: what stands for 0 in u.
        zero: where it does; None: nowhere.
        empty: whether a row has nothing else, (rows, 1).
        finite: whether a row holds numbers only, (rows, 1).
        lost: whether something that is not 0 lies below the floor.
    """

    def __init__(self, x: Float[Tensor, "r i"]) -> None:
        known = torch.finfo(x.dtype)
        size = x.abs()
        zero = size < known.tiny
        largest = size.amax(1, keepdim=True)
        self.finite = largest.isfinite()
        reach = layout(x.dtype).one >> layout(x.dtype).mantissa  # the largest exponent
        exponent = torch.frexp(largest.where(self.finite, 1)).exponent - 1
        self.exponent = exponent.clamp(1 - reach, reach - 1)
        self.floor = 2.0 ** -(reach // 2 - 3)
        unit = x * power(-self.exponent, x.dtype)
        small = unit.abs() < self.floor
        self.lost = bool((small & ~zero).any())
        self.zero = zero if bool(zero.any()) else None
        self.empty = largest < known.tiny
        self.values = unit.masked_fill(small, self.floor)


def power(exponent: Int[Tensor, "r 1"], dtype: torch.dtype) -> Float[Tensor, "r 1"]:
    r"""Return $2^e$, exactly, of exponents for which it is no subnormal number."""
    known = layout(dtype)
    return ((exponent.to(known.integer) << known.mantissa) + known.one).view(dtype)


def guarded(
    x: Float[Tensor, "r i"], w: Float[Tensor, "o i"], offset: int
) -> Float[Tensor, "r o"] | None:
    """Return the sums with guards; None: numbers of one row are too far apart for this form."""
    left, right = Unit(x), Unit(w)
    if left.lost or right.lost:
        return None
    y = added(left.values, right.values, offset)
    if left.zero is not None or right.zero is not None:
        empty = left.empty | right.empty.T
        y = y.masked_fill(empty, 0)
        # A floor's part in a larger sum is below the sum's last digit.
        seen = 8 * x.shape[1] * left.floor / torch.finfo(x.dtype).eps
        if bool((~empty & (y.abs() < seen)).any()):
            y = _without_zeros(y, left, right, offset)
    y = y * power(left.exponent, x.dtype) * power(right.exponent, x.dtype).T
    return y.masked_fill(~(left.finite & right.finite.T), torch.nan)


def _without_zeros(y: Tensor, x: Unit, w: Unit, offset: int) -> Tensor:
    """Take off what the floors brought: a power of two is multiplied exactly."""
    zero_x, zero_w = (
        torch.zeros_like(u.values) if u.zero is None else u.zero.to(y.dtype) for u in (x, w)
    )
    x_too, w_too = ((bits(u.values) + offset).view(y.dtype) for u in (x, w))
    y = y - x.floor * (zero_x @ w_too.T + ((1 - zero_x) * x_too) @ zero_w.T)
    return y.masked_fill((1 - zero_x) @ (1 - zero_w).T == 0, 0)
