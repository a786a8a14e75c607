"""What a critic makes of the space between points: numbers, and the rows of figures."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Critic = Callable[[Tensor], Tensor]
Rows = list[dict[str, Any]]
DRAWN = 300  # points of each kind in a figure


def gradient_norms(critic: Critic, points: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    r"""Return $\|\nabla_x f\|$ at these points."""
    with torch.inference_mode(False), torch.enable_grad():
        x = points.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x)
    return torch.linalg.vector_norm(gradient, dim=1)


def line_metrics(
    critic: Critic, network: Critic, real: Float[Tensor, "n d"], count: int
) -> dict[str, float]:
    """Return the largest steps of two critics between neighbours of ``count`` points on a line.

    ``max_jump`` and ``max_step``: of the critic and of its network; ``line_step``: the neighbours'
    distance; ``jumps``: steps of the critic that exceed 10 of it.
    """
    along, points = _line(real, count)
    jump = _scores(critic, points).diff().abs()
    step = _scores(network, points).diff().abs()
    length = float(along[-1]) / (len(along) - 1)
    return {
        "max_jump": float(jump.max()),
        "max_step": float(step.max()),
        "line_step": length,
        "jumps": float((jump > 10 * length).sum()),
    }


def line_rows(critic: Critic, network: Critic, real: Float[Tensor, "n d"], count: int) -> Rows:
    """Return the critic and its network along the line, at 400 of the points or a few more."""
    along, points = _line(real, count)
    every = max(1, len(along) // 400)
    points = points[::every]
    columns = (along[::every], _scores(critic, points), _scores(network, points))
    return [
        {"along": a, "critic": f, "network": raw}
        for a, f, raw in zip(*(column.tolist() for column in columns), strict=True)
    ]


def sample_rows(real: Float[Tensor, "n 2"], fake: Float[Tensor, "n 2"]) -> Rows:
    """Return some points of the plane of each kind."""
    return [
        {"x1": x1, "x2": x2, "kind": kind}
        for kind, points in (("real", real), ("generated", fake))
        for x1, x2 in points[:DRAWN].tolist()
    ]


def contour_rows(critic: Critic, real: Float[Tensor, "n 2"]) -> Rows:
    """Return the critic on a grid of 41 by 41 points, half as wide again as the real ones."""
    low, high = real.min(0).values, real.max(0).values
    middle, half = (low + high) / 2, 0.75 * (high - low)
    axes = [
        torch.linspace(float(middle[i] - half[i]), float(middle[i] + half[i]), 41) for i in (0, 1)
    ]
    grid = torch.cartesian_prod(*axes).to(real)
    return [
        {"x1": round(x1, 2), "x2": round(x2, 2), "critic": score}
        for (x1, x2), score in zip(grid.tolist(), _scores(critic, grid).tolist(), strict=True)
    ]


def picture_rows(real: Float[Tensor, "n d"], fake: Float[Tensor, "n d"]) -> Rows:
    """Return three real and six generated images; none where the points are no square ones."""
    side = math.isqrt(real.shape[1])
    if side * side != real.shape[1]:
        return []
    named = [(f"real {i + 1}", row) for i, row in enumerate(real[:3])]
    named += [(f"generated {i + 1}", row) for i, row in enumerate(fake[:6])]
    return [
        {"which": which, "row": i // side, "column": i % side, "brightness": value}
        for which, row in named
        for i, value in enumerate(row.tolist())
    ]


@torch.no_grad()
def _scores(critic: Critic, points: Tensor) -> Tensor:
    return torch.cat([critic(rows) for rows in torch.split(points, 1024)]).float()


def _line(real: Float[Tensor, "n d"], count: int) -> tuple[Tensor, Tensor]:
    """Return positions on the segment from the first point to the farthest, and their points."""
    start = real[0]
    end = real[(real - start).square().sum(1).argmax()]
    share = torch.linspace(0, 1, count, device=real.device)[:, None]
    return share[:, 0] * float((end - start).norm()), (start + share * (end - start)).to(real)
