r"""Steps of $dx = f_t(x)\,dt + g_t\,dw$ and of ordinary differential equations.

The noise depends on the time alone, so that Ito's and Stratonovich's readings agree. All points
move at once; a step of n points in d dimensions takes a drift (n, d) -> (n, d).
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Drift = Callable[[float, Tensor], Tensor]
Diffusion = Callable[[float], float]
Points = Float[Tensor, "n d"]


def euler_maruyama(
    drift: Drift, diffusion: Diffusion | None, t: float, x: Points, h: float, dw: Points | None
) -> Points:
    r"""Return $x + h f_t(x) + g_t\,\Delta w$: weak order 1; for additive noise strong order 1.

    Args:
        drift: f.
        diffusion: g; None: there is no noise, and this is Euler's method.
        t: time before the step.
        x: points before the step.
        h: length of the step; negative: back in time.
        dw: increments of the Brownian motion, of variance |h|.
    """
    moved = torch.add(x, drift(t, x), alpha=h)
    return moved if diffusion is None or dw is None else moved.add_(dw, alpha=diffusion(t))


def heun(
    drift: Drift, diffusion: Diffusion | None, t: float, x: Points, h: float, dw: Points | None
) -> Points:
    r"""Return $x + \frac h2 (f_t(x) + f_{t+h}(\tilde x)) + \bar g\,\Delta w$: weak order 2.

    $\tilde x$ is the step of `euler_maruyama`, $\bar g$ the mean of $g_t$ and $g_{t+h}$. Arguments
    are those of `euler_maruyama`.
    """
    here = drift(t, x)
    noise = None
    if diffusion is not None and dw is not None:
        noise = (0.5 * (diffusion(t) + diffusion(t + h))) * dw
    ahead = torch.add(x, here, alpha=h)
    moved = torch.add(x, here, alpha=h / 2)
    if noise is not None:
        ahead, moved = ahead.add_(noise), moved.add_(noise)
    return moved.add_(drift(t + h, ahead), alpha=h / 2)


def rk4(drift: Drift, t: float, x: Points, h: float) -> Points:
    r"""Return a step of the classical method of Runge and Kutta for $\dot x = f_t(x)$: order 4."""
    k1 = drift(t, x)
    k2 = drift(t + h / 2, torch.add(x, k1, alpha=h / 2))
    k3 = drift(t + h / 2, torch.add(x, k2, alpha=h / 2))
    k4 = drift(t + h, torch.add(x, k3, alpha=h))
    return torch.add(x, k1 + 2 * (k2 + k3) + k4, alpha=h / 6)


def step(
    method: str,
    drift: Drift,
    diffusion: Diffusion | None,
    t: float,
    x: Points,
    h: float,
    dw: Points | None = None,
) -> Points:
    """Return the points after a step of ``euler_maruyama``, ``heun`` or, no noise, ``rk4``."""
    if method == "rk4":
        return rk4(drift, t, x, h)
    return (euler_maruyama if method == "euler_maruyama" else heun)(drift, diffusion, t, x, h, dw)


def solve(
    method: str,
    drift: Drift,
    diffusion: Diffusion | None,
    x: Points,
    times: Sequence[float],
    generator: Generator | None = None,
) -> Points:
    """Return the points after steps from each time to the next.

    Args:
        method: see `step`.
        drift: f.
        diffusion: g; None: no noise.
        x: points at the first time.
        times: rising, or falling: back in time.
        generator: of the noise; None: torch's global one.

    Example:
        >>> import torch
        >>> x = torch.ones(1, 1, dtype=torch.float64)
        >>> round(solve("rk4", lambda t, x: -x, None, x, [0.0, 0.5, 1.0]).item(), 4)
        0.3682
    """
    noise = None
    for t, after in itertools.pairwise(times):
        h = after - t
        if diffusion is not None:
            noise = torch.empty_like(x) if noise is None else noise
            noise.normal_(std=abs(h) ** 0.5, generator=generator)
        x = step(method, drift, diffusion, t, x, h, noise)
    return x
