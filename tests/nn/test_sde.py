"""Steps against what they must do on linear equations, where the moments are recursions."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp

from suexp.nn.sde import heun, solve, step


def decay(t: float, x: torch.Tensor) -> torch.Tensor:
    return -x


def ones() -> torch.Tensor:
    return torch.ones(1, 1, dtype=torch.float64)


@pytest.mark.parametrize(("method", "order"), [("euler_maruyama", 1), ("heun", 2), ("rk4", 4)])
def test_order_without_noise(method: str, order: int) -> None:
    errors = []
    for steps in (16, 32):
        times = [i / steps for i in range(steps + 1)]
        errors.append(abs(solve(method, decay, None, ones(), times).item() - math.exp(-1)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_rk4_follows_a_time_that_changes() -> None:
    def field(t: float, x: torch.Tensor) -> torch.Tensor:
        return math.cos(t) * x - t

    found = solve("rk4", field, None, ones(), [i / 50 for i in range(101)]).item()
    peer = solve_ivp(lambda t, x: math.cos(t) * x - t, (0, 2), [1.0], rtol=1e-10, atol=1e-12)
    assert found == pytest.approx(peer.y[0, -1], abs=1e-7)


def test_times_may_fall() -> None:
    times = [i / 40 for i in range(41)]
    forth = solve("rk4", decay, None, ones(), times)
    assert solve("rk4", decay, None, forth, times[::-1]).item() == pytest.approx(1, abs=1e-8)


def test_euler_maruyama_has_its_exact_moments() -> None:
    # Under dx = -a x dt + s dw a step maps the mean by 1 - ah, the variance by (1 - ah)^2, + s^2 h.
    a, s, h, n, count = 1.5, 0.8, 0.1, 10, 400_000
    x = torch.full((count, 1), 2.0, dtype=torch.float64)
    times = [i * h for i in range(n + 1)]
    generator = torch.Generator().manual_seed(0)
    x = solve("euler_maruyama", lambda t, x: -a * x, lambda t: s, x, times, generator)
    shrink = (1 - a * h) ** 2
    variance = s**2 * h * (1 - shrink**n) / (1 - shrink)
    assert x.mean().item() == pytest.approx(2 * (1 - a * h) ** n, abs=4 * (variance / count) ** 0.5)
    assert x.var().item() == pytest.approx(variance, rel=4 * (2 / count) ** 0.5)


def test_heun_has_weak_order_two() -> None:
    # On dx = -x dt + dw a step maps x to (1 - h + h^2/2) x + (1 - h/2) dw.
    errors = []
    for n in (8, 16):
        h = 1 / n
        move = heun(decay, lambda t: 1.0, 0.0, ones(), h, 0 * ones()).item()
        kick = heun(decay, lambda t: 1.0, 0.0, 0 * ones(), h, ones()).item()
        assert move == pytest.approx(1 - h + h * h / 2, abs=1e-15)
        assert kick == pytest.approx(1 - h / 2, abs=1e-15)
        variance = kick**2 * h * (1 - move ** (2 * n)) / (1 - move**2)
        errors.append(abs(variance - (1 - math.exp(-2)) / 2))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.15)


def test_the_noise_is_the_generators() -> None:
    x = torch.zeros(5, 2)
    draws = [
        solve("heun", decay, lambda t: 1.0, x, [0, 0.1], torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(step("euler_maruyama", decay, None, 0.0, ones(), 0.5), 0.5 * ones())
