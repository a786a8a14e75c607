"""Particles of a system: coupled over step sizes, and what one step says of a test function."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from suexp.errors import UserError
from suexp.nn.sde import Diffusion, step
from suexp.task._sde import System
from suexp.task._test_functions import Phi, curvature, generator, laplacian


def coupled(
    system: System,
    method: str,
    x: Float[Tensor, "n d"],
    ratios: Sequence[int],
    h: float,
    steps: int,
    noise: float,
    random: Generator,
    observe: Callable[[int, Tensor], None],
) -> list[Tensor]:
    """Return the points after ``steps`` steps of size h, and of sizes that are multiples of it.

    All follow the same Brownian motion, so that their differences have little noise.

    Args:
        system: where they go.
        method: of a step, see `suexp.nn.sde.step`.
        x: where they start.
        ratios: each size over h; the last is 1.
        h: the finest size.
        steps: how many of these.
        noise: factor of the system's diffusion.
        random: generator of the noise.
        observe: called with the number of fine steps so far and the points of these.

    Raises:
        UserError: a point is not finite.
    """
    diffusion = scaled(system.diffusion, noise)
    states = [x] * len(ratios)
    paths = [torch.zeros_like(x) for _ in ratios] if diffusion is not None else []
    for done in range(1, steps + 1):
        if diffusion is not None:
            dw = torch.empty_like(x).normal_(std=math.sqrt(h), generator=random)
            for total in paths:
                total += dw
        for place, ratio in enumerate(ratios):
            if done % ratio == 0:
                size = ratio * h
                path: Tensor | None = paths[place] if paths else None
                begun = done * h - size
                states[place] = step(
                    method, system.drift, diffusion, begun, states[place], size, path
                )
                if path is not None:
                    path.zero_()
                if not torch.isfinite(states[place]).all():
                    raise UserError(
                        f"particles are not finite after {done // ratio} steps of {size:g}; "
                        "use smaller task.step_sizes"
                    )
        observe(done, states[-1])
    return states


def scaled(diffusion: Diffusion | None, factor: float) -> Diffusion | None:
    """Return a diffusion with a factor; none where it is 0."""
    if diffusion is None or factor == 0:
        return None
    known = diffusion
    return known if factor == 1 else lambda t: factor * known(t)


def one_step_residuals(
    system: System,
    phi: Phi,
    x: Float[Tensor, "n d"],
    noise: Float[Tensor, "n d"],
    sizes: Sequence[float],
    operator: str,
    estimator: str,
) -> Float[Tensor, "s n f"]:
    r"""Return $(E[\phi(x')|x] - \phi(x))/\Delta t - L\phi(x)$ of each point, estimated by a draw.

    $x' = x + f\Delta t + g\sqrt{\Delta t}\,\epsilon$. ``naive`` takes one $\epsilon$, and its
    spread grows as $\Delta t^{-1/2}$; ``antithetic`` the mean of $\pm\epsilon$, whose spread stays;
    ``control`` subtracts from that the part of mean 0, $\frac12 g^2 (\epsilon^\top \nabla\nabla\phi
    \,\epsilon - \Delta\phi)$, and its spread falls with $\Delta t$.

    Args:
        system: f and g, at time 0.
        phi: test functions.
        x: points.
        noise: epsilon of each.
        sizes: the steps.
        operator: what is taken for L, see `suexp.task._test_functions.generator`.
        estimator: ``naive``, ``antithetic`` or ``control``.
    """
    drift = system.drift(0.0, x)
    g = 0.0 if system.diffusion is None else system.diffusion(0.0)
    here = phi(x)
    expected = generator(phi, x, drift, g * g / 2, operator)
    if estimator == "control" and g:
        expected = expected + g * g / 2 * (curvature(phi, x, noise) - laplacian(phi, x))
    found = []
    for size in sizes:
        moved, jump = x + size * drift, g * math.sqrt(size) * noise
        ahead = phi(moved + jump)
        if estimator != "naive":
            ahead = (ahead + phi(moved - jump)) / 2
        found.append((ahead - here) / size - expected)
    return torch.stack(found)
