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
