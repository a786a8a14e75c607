"""What the density of a system is: by formula, by a solver of the equation, or along the flow."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_banded
from torch import Tensor

from suexp.nn.gaussian_mixture import GaussianMixture
from suexp.nn.sde import Drift, rk4
from suexp.task._sde import Law
from suexp.task._test_functions import Phi, TestFunctions, along

Array = NDArray[Any]


@dataclass(frozen=True)
class Reference:
    """The law at some times.

    Attributes:
        means: expectations of the test functions at the last time, (F,).
        density: on the line: takes points (n,), returns the density at each time, (T, n).
        facts: what is known of how exact it is, by name.
    """

    means: Tensor
    density: Callable[[Tensor], Tensor] | None
    facts: dict[str, float]


def closed_form(
    marginal: Callable[[float], GaussianMixture], phi: TestFunctions, times: Sequence[float]
) -> Reference:
    """Return the reference of a system whose laws are mixtures of normal distributions."""
    laws = [marginal(t) for t in times]

    def density(x: Tensor) -> Tensor:
        return torch.stack([law.log_prob(x[:, None]).exp() for law in laws])

    return Reference(phi.means(laws[-1]), density if laws[0].dim == 1 else None, {})


def bernoulli(z: Array) -> Array:
    """Return z / (e^z - 1), by its series near 0."""
    small = np.abs(z) < 1e-4
    safe = np.where(small, 1.0, z)
    return np.where(small, 1 - z / 2 + z * z / 12, safe / np.expm1(safe))


class FiniteVolume:
    r"""$\partial_t p = -\partial_x (p f) + D\,\partial_x^2 p$ on cells, without flux at the walls.

    The flux between cells is Scharfetter and Gummel's, $J_{i+1/2} = \frac{D}{\Delta x}
    [B(-z) p_i - B(z) p_{i+1}]$ with $z = f \Delta x / D$ and $B(z) = z/(e^z - 1)$: it is exact for
    a constant f, so that the stationary state is Boltzmann's and nothing oscillates. In time it
    takes the steps of Crank and Nicolson. The sum of p stays 1 to rounding.

    Args:
        drift: f(x), which does not change with time.
        diffusivity: D, $g^2/2$ of the Fokker-Planck equation; above 0.
        domain: the two walls.
        dx: about the width of a cell; the domain is divided into equal ones.
    """

    def __init__(
        self,
        drift: Callable[[Array], Array],
        diffusivity: float,
        domain: tuple[float, float],
        dx: float,
    ) -> None:
        low, high = domain
        cells = max(2, round((high - low) / dx))
        self.dx = (high - low) / cells
        self.x: Array = low + self.dx * (np.arange(cells) + 0.5)
        z = drift(low + self.dx * np.arange(1, cells)) * self.dx / diffusivity
        rate = diffusivity / self.dx**2
        # Out of a cell to the right and back, over the faces between cells.
        out: Array = rate * bernoulli(-z)
        back: Array = rate * bernoulli(z)
        main: Array = np.zeros(cells)
        main[:-1] -= out
        main[1:] -= back
        self.bands: Array = np.stack([np.r_[0.0, back], main, np.r_[out, 0.0]])

    def applied(self, p: Array) -> Array:
        """Return the rate at which p changes."""
        upper, main, lower = self.bands
        rate = main * p
        rate[:-1] += upper[1:] * p[1:]
        rate[1:] += lower[:-1] * p[:-1]
        return rate

    def evolve(self, p: Array, times: Sequence[float], dt: float) -> list[Array]:
        """Return p at each of these times, the start at 0; dt is about the step."""
        found, now = [], 0.0
        for time in times:
            steps = math.ceil((time - now) / dt - 1e-9)
            h = (time - now) / max(steps, 1)
            left = -h / 2 * self.bands
            left[1] += 1
            for _ in range(steps):
                p = solve_banded((1, 1), left, p + h / 2 * self.applied(p), check_finite=False)
            found.append(p)
            now = time
        return found


def finite_volume(
    drift: Drift,
    diffusivity: float,
    start: Law,
    domain: tuple[float, float],
    phi: Phi,
    times: Sequence[float],
    dx: float,
    dt: float,
) -> Reference:
    """Return the reference that solves the equation on the line; see `FiniteVolume`.

    ``wall_mass`` is what stands in the two cells at the walls at the end, and must be next to
    nothing; ``mass_error`` is what the sum has lost.
    """

    def field(x: Array) -> Array:
        return drift(0.0, torch.from_numpy(x)[:, None])[:, 0].numpy()

    volume = FiniteVolume(field, diffusivity, domain, dx)
    x = torch.from_numpy(volume.x)
    p = start.log_prob(x[:, None]).exp().numpy()
    p /= p.sum() * volume.dx
    states = np.stack(volume.evolve(p, times, dt))
    last = torch.from_numpy(states[-1] * volume.dx)
    facts = {
        "mass_error": abs(float(last.sum()) - 1),
        "wall_mass": float(last[0] + last[-1]),
    }

    def density(points: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([np.interp(points, volume.x, s) for s in states]))

    return Reference(last @ phi(x[:, None]), density, facts)


def flow_log_prob(drift: Drift, start: Law, x: Tensor, time: float, steps: int) -> Tensor:
    r"""Return $\log p_t(x)$ of an ODE: $\frac{d}{dt}\log p = -\nabla \cdot f$ along the flow.

    x is carried back to time 0 and its log-density forth, in one system of equations.

    Args:
        drift: f.
        start: the law at time 0.
        x: points (n, d).
        time: t.
        steps: of RK4.
    """

    def both(t: float, state: Tensor) -> Tensor:
        point = state[:, :-1]

        def f(y: Tensor) -> Tensor:
            return drift(t, y)

        spread = torch.zeros_like(point[:, 0])
        for i, axis in enumerate(torch.eye(point.shape[1], dtype=point.dtype)):
            spread = spread + along(f, point, axis.expand_as(point).contiguous())[1][:, i]
        return torch.cat([drift(t, point), spread[:, None]], 1)

    state = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
    for i in range(steps):
        state = rk4(both, time - i * time / steps, state, -time / steps)
    # Back in time the last column has become minus the integral of the divergence.
    return start.log_prob(state[:, :-1]) + state[:, -1]


def flow(
    drift: Drift,
    start: Law,
    domain: tuple[float, float],
    dim: int,
    phi: Phi,
    times: Sequence[float],
    dx: float,
) -> Reference:
    """Return the reference of a system without noise; see `flow_log_prob`.

    Expectations are sums over a grid, in the plane of at most 100 points a side.
    """
    low, high = domain
    cells = max(2, round((high - low) / dx))
    cells = cells if dim == 1 else min(cells, 100)
    side = low + (high - low) / cells * (torch.arange(cells, dtype=torch.float64) + 0.5)
    grid = torch.cartesian_prod(*[side] * dim).reshape(-1, dim)

    def at(time: float, x: Tensor) -> Tensor:
        if time == 0:
            return start.log_prob(x).exp()
        # Where no point can come from, the way back leaves every bound.
        p = flow_log_prob(drift, start, x, time, steps=max(20, round(50 * time))).exp()
        return p.nan_to_num(nan=0.0, posinf=0.0)

    weights = at(times[-1], grid) * ((high - low) / cells) ** dim

    def density(x: Tensor) -> Tensor:
        inside = (x > low) & (x < high)
        safe = torch.where(inside, x, (low + high) / 2)
        return torch.stack([at(time, safe[:, None]) * inside for time in times])

    mass = float(weights.sum())
    return Reference(
        weights @ phi(grid), density if dim == 1 else None, {"mass_error": abs(mass - 1)}
    )
