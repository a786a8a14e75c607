"""Known answers of https://kexue.fm/archives/9461: formulas, conservation, orders."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.nn.gaussian_mixture import normal
from suexp.task import _density_reference as reference
from suexp.task import _sde
from suexp.task._particles import one_step_residuals
from suexp.task._test_functions import TestFunctions, curvature, generator, laplacian
from suexp.task.estimation import JOINS
from suexp.task.fokker_planck import FokkerPlanck


def done(count: int = 20_000, batches: int = 2, **arguments: Any) -> FokkerPlanck:
    task = FokkerPlanck(**arguments)
    for number in range(batches):
        drawn = task.draw(count, torch.Generator().manual_seed(number))
        drawn["draws"] = torch.tensor(count)
        for name, value in drawn.items():
            task.totals[name] = JOINS[task._joins[name]](task.totals[name], value)
    task.generator = lambda index: torch.Generator().manual_seed(7)  # type: ignore[method-assign]
    task.final = task.summarise(task.totals)
    return task


def slope(rows: list[dict[str, Any]], x: str, y: str) -> float:
    return float(np.polyfit([math.log(r[x]) for r in rows], [math.log(r[y]) for r in rows], 1)[0])


# Test functions


def test_laplacian_and_gradient_are_the_analytic_ones() -> None:
    phi = TestFunctions(2, [1.0, 2.5])
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k2 = phi.k.square().sum(-1).repeat_interleave(2)
    assert torch.allclose(laplacian(phi, x)[:, 3:], -k2 * phi(x)[:, 3:], atol=1e-12)
    assert torch.allclose(laplacian(phi, x)[:, 1], torch.full((30,), 4.0).double(), atol=1e-12)
    v = torch.ones_like(x)
    assert torch.allclose(curvature(phi, x, v)[:, 1], torch.full((30,), 4.0).double(), atol=1e-12)
    # Along the drift -x of |x|^2: -2 |x|^2; half the square of g times the Laplacian on top.
    found = generator(phi, x, -x, 0.5, "fokker_planck")[:, 1]
    assert torch.allclose(found, -2 * x.square().sum(-1) + 2, atol=1e-12)


def test_means_under_a_normal_law_are_those_of_samples() -> None:
    phi = TestFunctions(2, [1.0, 2.0])
    law = _sde.diffused(0.3)
    x = law.sample(400_000, torch.Generator().manual_seed(0))
    values = phi(x)
    assert ((values.mean(0) - phi.means(law)).abs() < 4.5 * values.std(0) / 400_000**0.5).all()
    assert len(phi.names) == len(phi.means(law)) == values.shape[1]
    assert phi.means(normal([2.0, 0.0], 1e-12))[0].item() == pytest.approx(2)


# References


def test_finite_volumes_keep_mass_and_sign() -> None:
    start = _sde.double_well().start
    volume = reference.FiniteVolume(lambda x: x - x**3, 0.245, (-3.0, 3.0), 0.01)
    p = start.log_prob(torch.from_numpy(volume.x)[:, None]).exp().numpy()
    p /= p.sum() * volume.dx
    (end,) = volume.evolve(p, [1.0], 1e-3)
    assert abs(end.sum() * volume.dx - 1) < 1e-10
    assert end.min() > -1e-15
    assert end[0] + end[-1] < 1e-8


def test_finite_volumes_end_in_boltzmanns_state() -> None:
    volume = reference.FiniteVolume(lambda x: x - x**3, 0.245, (-3.0, 3.0), 0.01)
    p = np.full(len(volume.x), 1 / 6)
    (end,) = volume.evolve(p, [60.0], 0.02)
    boltzmann = np.exp((volume.x**2 / 2 - volume.x**4 / 4) / 0.245)
    boltzmann /= boltzmann.sum() * volume.dx
    assert abs(end - boltzmann).sum() * volume.dx / 2 < 1e-4  # the prototype had 1.4e-5


def test_finite_volumes_agree_with_the_formula_and_with_expm() -> None:
    system, phi = _sde.ou(), TestFunctions(1, [1.0, 2.0, 3.0])
    assert system.marginal is not None
    exact = reference.closed_form(system.marginal, phi, [0.5, 1.0])
    gaps = []
    for dx in (0.02, 0.01):
        found = reference.finite_volume(
            system.drift, 0.5, system.start, system.domain, phi, [0.5, 1.0], dx, 1e-3
        )
        gaps.append(float((found.means - exact.means).abs().max()))
    assert gaps[1] < 2e-5
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.3)  # second order in dx
    at = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)
    assert exact.density is not None
    assert found.density is not None
    assert torch.allclose(found.density(at), exact.density(at), atol=5e-5)

    small = reference.FiniteVolume(lambda x: -x, 0.5, (-4.0, 4.0), 0.1)
    p = np.exp(-(small.x**2))
    upper, main, lower = small.bands
    matrix = np.diag(main) + np.diag(upper[1:], 1) + np.diag(lower[:-1], -1)
    (end,) = small.evolve(p, [0.7], 1e-3)
    assert np.abs(end - expm(0.7 * matrix) @ p).max() < 1e-7
    assert np.abs(small.applied(p) - matrix @ p).max() < 1e-12


def test_bernoullis_function_is_smooth_at_zero() -> None:
    z = np.array([0.0, 1e-5, -1e-5, 2e-4, 1.0, -1.0])
    found = reference.bernoulli(z)
    assert found[0] == 1
    assert np.allclose(found[1:4], 1 - z[1:4] / 2 + z[1:4] ** 2 / 12, atol=1e-12)
    assert found[4] == pytest.approx(1 / (math.e - 1))
    assert found[5] == pytest.approx(found[4] + 1)


@pytest.mark.parametrize("name", ["contraction", "rotation"])
def test_a_density_is_carried_along_a_flow(name: str) -> None:
    system: _sde.System = getattr(_sde, name)()
    assert system.marginal is not None
    x = torch.randn(20, system.dim, generator=torch.Generator().manual_seed(0)).double()
    found = reference.flow_log_prob(system.drift, system.start, x, 0.8, 100)
    assert torch.allclose(found, system.marginal(0.8).log_prob(x), atol=1e-7)


def test_the_logit_of_a_logistic_growth_moves_by_the_time() -> None:
    system = _sde.logistic_flow()
    x = torch.tensor([[0.2], [0.5], [0.9]], dtype=torch.float64)
    found = reference.flow_log_prob(system.drift, system.start, x, 1.0, 200)
    assert torch.allclose(found, _sde.LogitNormal(0.0, 0.5).log_prob(x), atol=1e-7)
    grid = torch.linspace(1e-4, 1 - 1e-4, 20_001, dtype=torch.float64)[:, None]
    density = system.start.log_prob(grid).exp()
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=1e-8)


# One step


def draws(n: int = 2000) -> tuple[torch.Tensor, torch.Tensor]:
    x, noise = torch.randn(2, n, 1, generator=torch.Generator().manual_seed(3)).double()
    return x, noise


def test_residual_of_the_square_is_an_identity() -> None:
    x, noise = draws()
    system, phi = _sde.ou(a=1.3, s=0.8), TestFunctions(1, [1.0])
    for estimator, rest in (
        ("antithetic", 0.64 * (noise.square() - 1)),
        ("control", torch.zeros_like(noise)),
    ):
        found = one_step_residuals(system, phi, x, noise, [0.1, 0.01], "fokker_planck", estimator)
        for dt, residual in zip((0.1, 0.01), found[..., 1], strict=True):
            expected = (1.3**2 * dt * x.square() + rest)[:, 0]
            assert torch.allclose(residual, expected, atol=1e-12), estimator


def test_without_noise_two_operators_are_one() -> None:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double()
    phi, system = TestFunctions(2, [1.0]), _sde.rotation()
    found = [
        one_step_residuals(system, phi, x, torch.zeros_like(x), [0.01], operator, "control")
        for operator in ("fokker_planck", "continuity", "no_half")
    ]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_residuals_fall_as_the_step_and_wrong_operators_level_off() -> None:
    right = done(mode="residual")
    assert slope(right.tables["residual"], "dt", "residual") == pytest.approx(1, abs=0.1)
    assert right.final["abs_residual"] < 1e-3
    for operator, gap in (("continuity", 0.49), ("no_half", 0.49), ("wrong_sign", 0.98)):
        wrong = done(mode="residual", operator=operator)
        assert wrong.final["residual_x2"] == pytest.approx(gap, abs=0.01)
        assert wrong.final["abs_residual"] > 0.3


@pytest.mark.parametrize(
    ("estimator", "power"), [("naive", -0.5), ("antithetic", 0.0), ("control", 1.0)]
)
def test_the_spread_of_an_estimator(estimator: str, power: float) -> None:
    rows = done(mode="residual", estimator=estimator).tables["residual"]
    assert slope(rows, "dt", "standard_error") == pytest.approx(power, abs=0.06)


# Marginals


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"system": "ou"},
        {"system": "ou", "dim": 3},
        {"system": "ou", "integrator": "heun"},
        {"system": "rotation", "integrator": "rk4", "step_sizes": (0.2, 0.1)},
        {"system": "logistic_flow", "integrator": "rk4", "step_sizes": (0.2, 0.1)},
        {"system": "vp_mixture", "step_sizes": (0.05, 0.025)},
        {"operator": "continuity", "particle_noise": 0.0},
    ],
    ids=str,
)
def test_particles_have_the_density_of_the_equation(arguments: dict[str, Any]) -> None:
    assert done(**arguments).final["max_abs_z"] < 4


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_the_whole_family_goes_back_to_one_density(level: float) -> None:
    final = done(10_000, system="vp_reverse", noise_level=level, step_sizes=(0.05, 0.025)).final
    assert final["cf_limit_error"] < 0.03
    assert final["cf_error"] < 0.1


def test_the_ode_needs_its_half_of_the_score() -> None:
    final = done(
        10_000, system="vp_reverse", noise_level=0.0, score_factor=1.0, step_sizes=(0.05, 0.025)
    ).final
    assert final["cf_error"] > 0.2


def test_orders_of_the_step_and_of_the_number_of_particles() -> None:
    task = done(50_000)
    assert 0.8 < slope(task.tables["weak"], "h", "error") < 1.3
    assert -0.6 < slope(task.tables["monte_carlo"], "particles", "error") < -0.4
    assert task.final["marginal_error"] < 0.02


@pytest.mark.parametrize(
    ("arguments", "least"), [({"operator": "no_half"}, 0.1), ({"particle_noise": 0.0}, 0.3)]
)
def test_other_equations_miss(arguments: dict[str, Any], least: float) -> None:
    assert done(**arguments).final["marginal_error"] > least


def test_tables_hold_what_the_figures_draw() -> None:
    task = done(5000, 1)
    times = {row["time"] for row in task.tables["density"]}
    assert times == {0.25, 0.5, 0.75, 1.0}
    last = [row for row in task.tables["density"] if row["time"] == 1]
    width = last[1]["x"] - last[0]["x"]
    for name in ("density", "theory"):
        assert sum(row[name] for row in last) * width == pytest.approx(1, abs=1e-3)
    assert len(task.tables["paths"]) == 12 * 41
    assert {row["function"] for row in task.tables["means"]} == set(task.phi.names)


def test_particles_that_explode_are_told_with_their_step() -> None:
    with pytest.raises(UserError, match=r"not finite after \d+ steps of 2"):
        done(100, 1, step_sizes=(2.0,), horizon=40.0)


def test_totals_go_on_from_a_checkpoint() -> None:
    one, two = FokkerPlanck(), FokkerPlanck()
    drawn = one.draw(500, torch.Generator().manual_seed(0))
    one.totals |= drawn
    two.set_extra_state(one.get_extra_state())
    assert all(torch.equal(two.totals[name], value) for name, value in one.totals.items())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"system": "duffing"}, "system must be one of ou, double_well"),
        ({"integrator": "rk4"}, "rk4 integrates ODEs, and system=double_well has noise"),
        (
            {"system": "rotation", "reference": "finite_volume"},
            "zero diffusion; use reference=flow",
        ),
        ({"system": "vp_mixture", "operator": "no_half"}, "finite_volume solves on the line"),
        ({"reference": "closed_form"}, "closed_form knows operator=fokker_planck of ou"),
        ({"reference": "flow"}, "flow carries a density without noise"),
        ({"operator": "wrong_sign"}, "no density obeys diffusion backwards; use mode=residual"),
        ({"step_sizes": (0.2, 0.15)}, "0.2 must be a multiple of the last, 0.15"),
        ({"step_sizes": (0.3,)}, "divide horizon=1.0"),
        ({"dim": 2}, "system=double_well has a dimension of its own"),
        ({"step_sizes": ()}, "step_sizes must have an entry"),
        ({"horizon": 0.0}, "horizon must be above 0"),
        ({"group_sizes": (1,)}, "group_sizes must be at least 2"),
    ],
)
def test_mistakes_are_one_line(arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        FokkerPlanck(**arguments)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("task.integrator=rk4", "rk4 integrates ODEs"),
        ("task.step_sizes=[0.2,0.15]", "must be a multiple of the last"),
        ("task.reference=flow", "carries a density without noise"),
    ],
)
def test_check_refuses_without_torch(override: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        resolve(["task=fokker_planck", override])
