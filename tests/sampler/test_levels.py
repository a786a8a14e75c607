"""The reverse SDE and the ODE, on densities whose scores at all noises are formulas."""

import pytest
import torch
from scipy.integrate import solve_ivp

from suexp.nn.gaussian_mixture import GaussianMixture
from suexp.sampler import ODE, EulerMaruyama
from suexp.sampler.base import Score
from suexp.task._samples import energy_distance

MIXTURE = GaussianMixture([0.7, 0.3], [[-1.0, 0.5], [1.0, 0.0]], 0.04)


def exact() -> Score:
    return Score(MIXTURE.score, at=lambda x, sigma: MIXTURE.noised(sigma**2).score(x))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_the_family_ends_in_the_data(level: float) -> None:
    sampler = EulerMaruyama(level, sigma_max=10.0, sigma_min=0.02, steps=300, start_mean=0.0)
    generator = torch.Generator().manual_seed(0)
    x = sampler.start(2000, 2, generator, dtype=torch.float64)
    x = sampler(exact(), x, generator)
    real = MIXTURE.sample(2000, torch.Generator().manual_seed(1))
    assert energy_distance(x, real) < 0.02  # of two draws of the data: 0.002
    assert float((x[:, 0] < 0).double().mean()) == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(("method", "order"), [("euler_maruyama", 1), ("heun", 2), ("rk4", 4)])
def test_the_ode_maps_a_normal_law_exactly(method: str, order: int) -> None:
    # dx/dv = x / (2 (1 + v)): x grows as the root of 1 + v.
    score = Score(lambda x: -x, at=lambda x, sigma: -x / (1 + sigma**2))
    x = torch.tensor([[10.0]], dtype=torch.float64)
    wanted = 10 * ((1 + 0.1**2) / (1 + 3.0**2)) ** 0.5
    errors = []
    for steps in (20, 40):
        sampler = ODE(method, sigma_max=3.0, sigma_min=0.1, steps=steps)  # type: ignore[arg-type]
        errors.append(abs(float(sampler(score, x)) - wanted))
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.2)


def test_the_ode_is_scipys() -> None:
    sampler = ODE("rk4", sigma_max=2.0, sigma_min=0.1, steps=200, final_denoise=False)
    x = torch.tensor([[0.8, -0.4]], dtype=torch.float64)

    def field(v: float, y: list[float]) -> list[float]:
        point = torch.tensor([list(y)], dtype=torch.float64)
        found: list[float] = (-0.5 * MIXTURE.noised(v).score(point))[0].tolist()
        return found

    peer = solve_ivp(field, (4.0, 0.01), x[0].tolist(), rtol=1e-9, atol=1e-11).y[:, -1]
    assert sampler(exact(), x)[0].tolist() == pytest.approx(list(peer), abs=1e-5)


def test_a_score_of_one_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="the score is that of one noise; use sampler=langevin"):
        ODE()(Score(lambda x: -x), torch.zeros(1, 2))


def test_levels_fall() -> None:
    with pytest.raises(ValueError, match=r"sigma_max 0\.1 must be above sigma_min 0\.2"):
        EulerMaruyama(sigma_max=0.1, sigma_min=0.2)
    variances = ODE(sigma_max=4.0, sigma_min=1.0, steps=2).variances
    assert variances == pytest.approx([16.0, 4.0, 1.0])
