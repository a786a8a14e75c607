"""Mitchell's logarithm, number by number (https://kexue.fm/archives/7991)."""

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.arithmetic._bits import bits, layout, magnitude


def multiply(
    x: Float[Tensor, "*#a"], y: Float[Tensor, "*#a"], offset: int = 0, safe: bool = True
) -> Float[Tensor, "..."]:
    r"""Return Mitchell's product: bits(x) + bits(y) - bits(1), read as a number.

    With guards, zeros and subnormal numbers give 0, what is too small 0, too large infinity, and
    infinite or missing numbers what exact multiplication gives.

    Args:
        x: factors.
        y: factors of the same type.
        offset: added to the sum, in units of the last digit.
        safe: whether there are guards.

    Raises:
        ValueError: numbers of two types.
    """
    _alike(x, y)
    known = layout(x.dtype)
    if not safe:
        return (bits(x) + bits(y) - (known.one - offset)).view(x.dtype)
    a, b = magnitude(x) - (known.one - offset), magnitude(y)
    above, below = a > known.infinity - b, a < known.tiny - b  # the sum itself may overflow
    sums = torch.where(above, known.infinity, torch.where(below, 0, a + b))
    zero = (magnitude(x) < known.tiny) | (b < known.tiny)
    product = sums.masked_fill(zero, 0).to(known.integer).view(x.dtype)
    product = torch.where(x.signbit() ^ y.signbit(), -product, product)
    return torch.where(x.isfinite() & y.isfinite(), product, x * y)


def divide(x: Float[Tensor, "*#a"], y: Float[Tensor, "*#a"]) -> Float[Tensor, "..."]:
    r"""Return Mitchell's quotient of finite numbers, bits(x) - bits(y) + bits(1).

    It is too large by at most an eighth. 0 / y is 0; x / 0 is what exact division gives.

    Raises:
        ValueError: numbers of two types.
    """
    _alike(x, y)
    known = layout(x.dtype)
    a, b = magnitude(x), magnitude(y) - known.one
    above, below = a - known.infinity > b, a - known.tiny < b  # the difference may overflow
    sums = torch.where(above, known.infinity, torch.where(below, 0, a - b))
    quotient = sums.masked_fill(a < known.tiny, 0).to(known.integer).view(x.dtype)
    quotient = torch.where(x.signbit() ^ y.signbit(), -quotient, quotient)
    plain = x.isfinite() & y.isfinite() & (magnitude(y) >= known.tiny)
    return torch.where(plain, quotient, x / y)


def log2(x: Float[Tensor, "*a"]) -> Float[Tensor, "*a"]:
    r"""Return $m + a$ of $x = 2^m (1 + a) > 0$, at most .0861 below $\log_2 x$; in float64."""
    known = layout(x.dtype)
    return (bits(x) - known.one).to(torch.float64) / 2**known.mantissa


def exp2(z: Float[Tensor, "*a"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "*a"]:
    r"""Return $2^m (1 + a)$ of $z = m + a$, m whole and $0 \le a < 1$: the inverse of `log2`."""
    known = layout(dtype)
    return ((z * 2**known.mantissa).round().to(known.integer) + known.one).view(dtype)


def multiply_int(p: int, q: int) -> int:
    """Return Mitchell's product of natural numbers, cut to a whole one: the algorithm of 1962.

    Example:
        >>> multiply_int(3, 3), multiply_int(3, 4), multiply_int(0, 7)
        (8, 12, 0)
    """
    if p == 0 or q == 0:
        return 0
    m, n = p.bit_length() - 1, q.bit_length() - 1
    # With 1 + a = p / 2^m: 2^(m + n) (1 + a + b) is p 2^n + q 2^m - 2^(m + n).
    fractions = ((p - (1 << m)) << n) + ((q - (1 << n)) << m)
    whole = 1 << (m + n)
    return whole + fractions if fractions < whole else 2 * fractions


def _alike(x: Tensor, y: Tensor) -> None:
    if x.dtype != y.dtype:
        raise ValueError(f"Mitchell's sum needs numbers of one type, not {x.dtype} and {y.dtype}")
