"""Points on circles, discs and balls: how likely they share a sector, and how to draw them."""

import itertools
import math
from fractions import Fraction

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

HALF = Fraction(1, 2)


def single_term(n: int, turn: Fraction) -> Fraction:
    r"""$n (\theta/2\pi)^{n-1}$: right for $\theta \le \pi$, above 1 and wrong beyond."""
    return Fraction(n) * turn ** (n - 1)


def inclusion_exclusion(n: int, turn: Fraction) -> Fraction:
    r"""$\sum_{k \ge 1,\, kx < 1} (-1)^{k-1} \binom nk (1-kx)^{n-1}$ with $x = 1 - \theta/2\pi$.

    The tail of the longest of n uniform spacings. In rationals: near certainty the alternating sum
    costs float64 five of its digits and more (n = 60, 353 degrees).
    """
    x = 1 - turn
    if n == 1 or n * x <= 1:
        return Fraction(1)  # one arc of n is always at least 1/n; at n = 1 the sum would need 0^0
    last = min(n, math.ceil(1 / x) - 1)
    terms = ((-1) ** (k - 1) * math.comb(n, k) * (1 - k * x) ** (n - 1) for k in range(1, last + 1))
    return sum(terms, Fraction(0))


def exact_rational(n: int, turn: Fraction) -> Fraction:
    r"""The same law by another road, $1 - (n-1)!\, x^{n-1} B_n(1/x)$; every term is positive.

    $B_n$ is the density of a sum of n uniform numbers (the cardinal B-spline), by Cox and de Boor's
    recursion $B_n(t) = (t B_{n-1}(t) + (n-t) B_{n-1}(t-1)) / (n-1)$.
    """
    x = 1 - turn
    if n == 1 or x == 0:
        return Fraction(1)
    points = [1 / x - j for j in range(n)]
    spline = [Fraction(0 <= t < 1) for t in points]
    for order in range(2, n + 1):
        spline = [
            (points[j] * spline[j] + (order - points[j]) * spline[j + 1]) / (order - 1)
            for j in range(n + 1 - order)
        ]
    return 1 - math.factorial(n - 1) * x ** (n - 1) * spline[0]


def wendel(n: int, dim: int) -> Fraction:
    r"""$2^{1-n} \sum_{k<d} \binom{n-1}k$: n points of a d-ball share a half (Wendel, 1962)."""
    return Fraction(sum(math.comb(n - 1, k) for k in range(dim)), 2 ** (n - 1))


def longest_arc(angles: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Longest of the n arcs between points of a circle, given and measured in turns."""
    points = angles.sort(dim=1).values
    around = 1 - (points[:, -1] - points[:, 0])
    if points.shape[1] == 1:
        return around
    return torch.maximum(points.diff(dim=1).amax(dim=1), around)


def in_half_space(points: Float[Tensor, "b n d"]) -> Bool[Tensor, " b"]:
    """Tell which sets of points lie on one side of some plane through the origin.

    In three dimensions such a plane can be turned until it holds two of the points; so it is enough
    to try the planes of all pairs. Beyond, a linear program decides, set by set.
    """
    _, n, dim = points.shape
    if dim == 2:
        return longest_arc(angles_of(points)) >= 0.5
    if n <= dim:
        return points.new_ones(len(points), dtype=torch.bool)
    if dim == 3:
        pairs = torch.tensor(list(itertools.combinations(range(n), 2)), device=points.device)
        i, j = pairs.unbind(dim=1)
        normals = torch.linalg.cross(points[:, i], points[:, j])
        side = normals @ points.mT
        side.scatter_(2, pairs.expand(len(points), -1, -1), 0.0)  # the two points of the plane
        return ((side >= 0).all(dim=2) | (side <= 0).all(dim=2)).any(dim=1)
    from scipy.optimize import linprog

    feasible = [  # some w with x.w >= 1 for all points x
        linprog([0.0] * dim, -x, [-1.0] * n, bounds=(None, None)).status == 0
        for x in points.cpu().numpy()
    ]
    return torch.tensor(feasible, device=points.device)


def uniform(shape: tuple[int, ...], real: torch.dtype, generator: Generator) -> Tensor:
    """Numbers between 0 and 1; as angles in turns, points of the circle."""
    return torch.rand(shape, dtype=real, device=generator.device, generator=generator)


def disc(shape: tuple[int, int], real: torch.dtype, generator: Generator) -> Float[Tensor, "b n 2"]:
    """Points of the unit disc in polar form: the square root makes the area uniform."""
    radius = uniform(shape, real, generator).sqrt()
    angle = uniform(shape, real, generator) * math.tau
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)


def disc_rejection(
    shape: tuple[int, int], real: torch.dtype, generator: Generator
) -> Float[Tensor, "b n 2"]:
    """Points of the square that fell into the disc: no formula for the area at all."""
    kept = torch.empty(0, 2, dtype=real, device=generator.device)
    while len(kept) < math.prod(shape):
        square = 2 * uniform((2 * math.prod(shape), 2), real, generator) - 1
        kept = torch.cat([kept, square[square.square().sum(dim=1) < 1]])
    return kept[: math.prod(shape)].view(*shape, 2)


def ball(
    shape: tuple[int, int], dim: int, real: torch.dtype, generator: Generator
) -> Float[Tensor, "b n d"]:
    """Points of the unit d-ball: Gaussian directions at radii U^(1/d)."""
    normal = torch.randn((*shape, dim), dtype=real, device=generator.device, generator=generator)
    radius = uniform((*shape, 1), real, generator) ** (1 / dim)
    return torch.nn.functional.normalize(normal, dim=-1) * radius


def angles_of(points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n"]:
    """Polar angles in turns."""
    return torch.atan2(points[..., 1], points[..., 0]) / math.tau % 1
