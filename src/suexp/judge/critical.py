r"""How far a mean over seeds must lie from a border, when one looks more than once.

After some numbers of seeds, the looks, the mean $\bar d$ of n paired differences with standard
deviation s stands with the interval $\bar d \pm c_n s / \sqrt n$. A t interval at every look would
err more often than it says, since any look may err. With an equal share of $\alpha$ for each look
(Pocock's idea, spent evenly) the whole sequence errs with probability $\alpha$, and the intervals
are repeated confidence intervals: valid together, whatever makes one stop.

Jennison and Turnbull, Group Sequential Methods, 1999, chapters 3 and 9. Without a last look the
intervals are a t-mixture confidence sequence (Wang and Ramdas, Anytime-valid t-tests, 2023,
https://arxiv.org/abs/2310.03722).
"""

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, optimize, special

ALPHA = 0.05
# The variance of the mixture's normal prior on mean / standard deviation.
PRIOR = 10.0


@functools.lru_cache(maxsize=256)
def critical(at: tuple[int, ...], alpha: float = ALPHA) -> tuple[float, ...]:
    r"""Return for each look the |t| that decides, when all looks together err with ``alpha``.

    Under normal differences around the border the last t is a sufficient statistic of direction:
    given it, the earlier ones do not depend on mean and scale, and the looks, backwards, are a
    Markov chain. With $r = t / \sqrt{n - 1 + t^2}$, the first m of n values have

    .. math::

        S_m = \frac{m r}{\sqrt n} + b \sqrt{(1 - r^2) m (n - m) / n}, \qquad
        t_m^2 = \frac{(m - 1) S_m^2 / m}{(1 - r^2)(1 - b^2) w}

    where b is a coordinate of a uniform direction in n - 1 dimensions and w is Beta((m-1)/2,
    (n-m-1)/2). The probability of no crossing so far is carried forward by quadrature over b and w.

    Args:
        at: numbers of seeds, rising, the first at least 2.
        alpha: the two-sided probability of an error, shared equally among the looks.
    """
    share = alpha / len(at)
    found = [float(special.stdtrit(at[0] - 1, 1 - share / 2))]
    angle = (np.arange(160) + 0.5) / 160 * np.pi / 2  # r = sin(angle) in (0, 1): all is symmetric
    r = np.sin(angle)
    kept = np.ones_like(r)
    for m, n in itertools.pairwise(at):
        kept = _carried(r, kept, m, n, found[-1])
        # The density of r, in the angle: cos(angle) ** (n - 2); the tail from pi / 2 downwards.
        mass = kept * np.cos(angle) ** (n - 2) * 2 / special.beta(0.5, (n - 1) / 2)
        tail = interpolate.CubicSpline(angle, mass, extrapolate=True).antiderivative()
        ends = np.linspace(0, np.pi / 2, 20001)
        beyond = tail(np.pi / 2) - tail(ends)
        edge = float(np.interp(share, beyond[::-1], ends[::-1]))
        found.append(math.sqrt(n - 1) * math.tan(edge))
    return tuple(found)


Floats = NDArray[np.float64]


def _carried(r: Floats, kept: Floats, m: int, n: int, c: float) -> Floats:
    """Return the probability of no crossing up to look m, given r at look n."""
    known = interpolate.CubicSpline(np.arcsin(r), kept, extrapolate=True)
    b, b_weight = special.roots_jacobi(64, (n - 4) / 2, (n - 4) / 2)
    b_weight = b_weight / b_weight.sum()
    left, right = (m - 1) / 2, (n - m - 1) / 2
    s = m * r[:, None] / math.sqrt(n) + b * np.sqrt((1 - r[:, None] ** 2) * m * (n - m) / n)
    spread = (1 - r[:, None] ** 2) * (1 - b**2)
    least = np.minimum((m - 1) * s**2 / (m * c**2 * spread), 1.0)
    if right == 0:  # one value more: nothing is left to share
        ratio = s / np.sqrt(m * (s**2 / m + spread))
        inner = np.where(least < 1, known(np.arcsin(np.abs(ratio))), 0.0)
    else:
        v, v_weight = special.roots_sh_jacobi(16, right, right)
        # roots_sh_jacobi(p, q): weight (1 - v)^(p - q) v^(q - 1); here v^(right - 1).
        w = 1 - (1 - least[..., None]) * v
        ratio = s[..., None] / np.sqrt(m * (s[..., None] ** 2 / m + spread[..., None] * w))
        values = known(np.arcsin(np.clip(np.abs(ratio), 0, 1))) * w ** (left - 1)
        inner = (1 - least) ** right * (values @ v_weight) / special.beta(left, right)
    return np.clip(inner @ b_weight, 0, 1)


def mixture(n: int, alpha: float = ALPHA) -> float:
    r"""Return the |t| of n values that decides when there is no last look.

    The e-value of the mixture $\mu / \sigma \sim N(0, g)$ over the scale-invariant likelihood,
    $\log E = -\tfrac12 \log(1 + n g) + \tfrac n2 [\log(1 + \tfrac{t^2}{n-1})
    - \log(1 + \tfrac{t^2}{(n-1)(1 + n g)})]$, reaches $1 / \alpha$ with probability
    $\alpha$ at most, ever.
    """

    def missing(t: float) -> float:
        inner, outer = t * t / (n - 1), t * t / ((n - 1) * (1 + n * PRIOR))
        gain = n / 2 * (math.log1p(inner) - math.log1p(outer))
        return gain - 0.5 * math.log1p(n * PRIOR) + math.log(alpha)

    return float(optimize.brentq(missing, 0, 1e6)) if missing(1e6) > 0 else math.inf


def factor(n: int, at: Sequence[int] | None, alpha: float = ALPHA) -> float:
    """Return c of the interval at n seeds: ``at`` are the planned looks, None: there is no last.

    Raises:
        ValueError: n is no planned look.
    """
    if n < 2:
        return math.inf
    if at is None:
        return mixture(n, alpha)
    return critical(tuple(at), alpha)[list(at).index(n)]
