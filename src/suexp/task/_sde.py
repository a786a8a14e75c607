"""The systems of task=fokker_planck: where points start and how they move."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from suexp.nn.gaussian_mixture import GaussianMixture, normal
from suexp.nn.sde import Diffusion, Drift

BETA = 2.0  # of the variance-preserving systems


@runtime_checkable
class Law(Protocol):
    """What points are drawn from."""

    def sample(
        self, count: int, generator: Generator, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """Return points (count, d)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of points (n, d)."""


@dataclass(frozen=True)
class System:
    r"""$dx = f_t(x)\,dt + g_t\,dw$ from a law of x at time 0.

    Attributes:
        start: the law at time 0.
        drift: f.
        diffusion: g; None: an ordinary differential equation.
        dim: d.
        domain: holds all but a negligible part of the points, in every coordinate.
        marginal: the law at a time, where there is a formula.
    """

    start: Law
    drift: Drift
    diffusion: Diffusion | None
    dim: int
    domain: tuple[float, float]
    marginal: Callable[[float], GaussianMixture] | None = None


class LogitNormal:
    r"""$x = 1/(1 + e^{-y})$, $y \sim N(m, s^2)$, on (0, 1)."""

    def __init__(self, mean: float, std: float) -> None:
        self.normal = normal([mean], std**2)

    def sample(
        self, count: int, generator: Generator, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """Return points (count, 1)."""
        return self.normal.sample(count, generator, dtype, device).sigmoid()

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of points (n, 1)."""
        change = (x.log() + (-x).log1p()).squeeze(-1)
        return self.normal.log_prob(x.logit()) - change


def ou(dim: int = 1, a: float = 1.0, s: float = 1.0) -> System:
    r"""Ornstein and Uhlenbeck's: $f = -ax$, $g = s$."""
    start = normal([1.0] * dim, 0.25)

    def marginal(t: float) -> GaussianMixture:
        decay = torch.tensor(-a * t, dtype=torch.float64).exp()
        return start.mapped(decay, float(s**2 * (1 - decay**2) / (2 * a)))

    return System(start, lambda _, x: -a * x, lambda _: s, dim, (-6.0, 6.0), marginal)


def double_well() -> System:
    """Two valleys, at -1 and 1: f = x - x^3, g = 0.7."""
    start = normal([-0.5], 0.09)
    return System(start, lambda _, x: x - x * x * x, lambda _: 0.7, 1, (-3.0, 3.0))


def rotation() -> System:
    """The plane turned by one radian in a unit of time: the density is carried unchanged."""
    start = normal([1.0, 0.0], torch.tensor([[0.25, 0.0], [0.0, 0.09]]))

    def marginal(t: float) -> GaussianMixture:
        angle = torch.tensor(t, dtype=torch.float64)
        c, s = angle.cos(), angle.sin()
        return start.mapped(torch.stack([torch.stack([c, -s]), torch.stack([s, c])]))

    def drift(_: float, x: Tensor) -> Tensor:
        return torch.stack([-x[:, 1], x[:, 0]], -1)

    return System(start, drift, None, 2, (-4.0, 4.0), marginal)


def contraction(dim: int = 1) -> System:
    """Everything shrinks: f = -x without noise."""
    start = normal([1.0] * dim, 0.25)

    def marginal(t: float) -> GaussianMixture:
        return start.mapped(torch.tensor(-t, dtype=torch.float64).exp())

    return System(start, lambda _, x: -x, None, dim, (-4.0, 4.0), marginal)


def logistic_flow() -> System:
    """Growth with a limit, f = x(1 - x) on (0, 1) without noise: the logit grows by the time."""
    return System(LogitNormal(-1.0, 0.5), lambda _, x: x * (1 - x), None, 1, (1e-6, 1 - 1e-6))


CLOUD = GaussianMixture([0.5, 0.3, 0.2], [[1.5, 0.0], [-1.0, 1.2], [-0.5, -1.5]], 0.09)


def diffused(t: float) -> GaussianMixture:
    """Return the law of three Gaussians of the plane after a time of `vp_mixture`."""
    decay = torch.tensor(-BETA * t, dtype=torch.float64).exp()
    return CLOUD.mapped(decay.sqrt(), float(1 - decay))


def vp_mixture() -> System:
    r"""Three Gaussians dissolve: $f = -\frac\beta2 x$, $g = \sqrt\beta$."""
    return System(CLOUD, lambda _, x: -BETA / 2 * x, lambda _: BETA**0.5, 2, (-5.0, 5.0), diffused)


def vp_reverse(horizon: float, noise_level: float = 1.0, score_factor: float = 0.5) -> System:
    r"""The same backwards: `vp_mixture` from the horizon on, $g = \lambda\sqrt\beta$.

    $f = \frac\beta2 x + (1+\lambda^2)\,c\,\beta\nabla\log p$; with c = 1/2 the laws are those of
    `vp_mixture` for every $\lambda$; 0 is the ODE.

    Args:
        horizon: time at which the way back begins.
        noise_level: $\lambda$.
        score_factor: c.
    """
    pull = (1 + noise_level**2) * score_factor * BETA

    def drift(t: float, x: Tensor) -> Tensor:
        return torch.add(BETA / 2 * x, diffused(horizon - t).score(x), alpha=pull)

    level = noise_level * BETA**0.5
    diffusion: Diffusion | None = (lambda _: level) if noise_level else None
    domain = (-5.0, 5.0)
    return System(diffused(horizon), drift, diffusion, 2, domain, lambda t: diffused(horizon - t))
