"""How far generated points are from real ones."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def wasserstein(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> float:
    r"""Return $W_1 = \min_\pi \frac1n \sum_i \|a_i - b_{\pi(i)}\|_2$, exactly, by assignment.

    Of a point that is not finite the distance is infinite.
    """
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")
    if not torch.isfinite(cost).all():
        return math.inf
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return float(cost.cpu()[rows, columns].mean())


def sliced_wasserstein(
    a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], projections: int = 200, seed: int = 0
) -> float:
    r"""Return the mean over random directions of the $W_1$ of the projected points: $O(n \log n)$.

    Reference: Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures,
    https://doi.org/10.1007/s10851-014-0506-3.

    Args:
        a: points.
        b: as many.
        projections: how many directions.
        seed: of the directions.
    """
    generator = torch.Generator().manual_seed(seed)
    axes = torch.randn(a.shape[1], projections, generator=generator, dtype=torch.float64)
    axes = (axes / axes.norm(dim=0)).to(a.device)
    along, beside = (x.double() @ axes for x in (a, b))
    return float((along.sort(0).values - beside.sort(0).values).abs().mean())


def energy_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    r"""Return $2E|X-Y| - E|X-X'| - E|Y-Y'|$ of the two empirical laws, at least 0.

    Of n and m points of one law it is $(1/n + 1/m) E|X-X'|$ on average. In one dimension it is the
    square of SciPy's. Reference: Szekely and Rizzo, Energy statistics,
    https://doi.org/10.1016/j.jspi.2013.03.018.
    """

    def mean(x: Tensor, y: Tensor) -> float:
        way = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
        return float(way.mean())

    found = 2 * mean(a, b) - mean(a, a) - mean(b, b)
    return found if math.isfinite(found) else math.inf


def frechet(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    r"""Return $|\mu_a - \mu_b|^2 + \mathrm{tr}(S_a + S_b - 2(S_a S_b)^{1/2})$ of two clouds.

    It is the squared Wasserstein distance of normal laws with these moments: Dowson and Landau,
    https://doi.org/10.1016/0047-259X(82)90077-X; here of the points themselves.
    """
    a, b = a.double(), b.double()
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return math.inf
    off = a.mean(0) - b.mean(0)
    first, second = torch.cov(a.T).reshape(2 * (a.shape[1],)), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    inner = torch.linalg.eigvalsh(root @ second.reshape(first.shape) @ root).clamp_min(0).sqrt()
    spread = first.trace() + second.reshape(first.shape).trace() - 2 * inner.sum()
    return float(off.square().sum() + spread)


def coverage(
    points: Float[Tensor, "n d"], centres: Any, std: float, least: float = 0.1
) -> tuple[float, int]:
    """Return the share of points within 3 std of a mode, and how many modes are covered.

    A mode is covered when at least ``least`` of its fair share of the points, n / modes, lie
    within 3 std of it.
    """
    distance = torch.cdist(points.double(), torch.as_tensor(centres).to(points.device).double())
    nearest, mode = distance.min(1)
    good = nearest < 3 * std
    counts = torch.bincount(mode[good], minlength=len(centres))
    needed = max(1.0, least * len(points) / len(centres))
    return float(good.double().mean()), int((counts >= needed).sum())
