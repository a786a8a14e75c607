"""The spec's known answers of the linear law."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from suexp.extrapolator import Copy, LinearPDE
from suexp.extrapolator.linear_pde import powers

DIM = 4


def law(a: Tensor, b: Tensor, **settings: object) -> LinearPDE:
    found = LinearPDE(len(a), **settings).to(a.dtype).requires_grad_(False)  # type: ignore[arg-type]
    found.along_x.data.copy_(a)
    found.along_y.data.copy_(b)
    return found


def commuting(size: float = 0.3) -> tuple[Tensor, Tensor]:
    found = LinearPDE(DIM, commute="shared_basis").double()
    torch.nn.init.normal_(found.along_x, std=size)
    torch.nn.init.normal_(found.along_y, std=size)
    a, b = found.matrices
    return a.detach(), b.detach()


def naive(features: Tensor, corner: tuple[int, int], grid: tuple[int, int], a: Tensor, b: Tensor):  # type: ignore[no-untyped-def]
    """Each cell for itself, by scipy's matrix exponential."""
    found = np.zeros((*features.shape[:2], *grid))
    height, width = features.shape[2:]
    for y in range(grid[0]):
        for x in range(grid[1]):
            i = min(max(y - corner[0], 0), height - 1)
            j = min(max(x - corner[1], 0), width - 1)
            k, m = x - corner[1] - j, y - corner[0] - i
            move = expm(m * b.numpy()) @ expm(k * a.numpy())
            found[:, :, y, x] = features[:, :, i, j].numpy() @ move.T
    return torch.from_numpy(found)


@pytest.mark.parametrize("step", ["exp", "euler"])
@pytest.mark.parametrize("order", ["xy", "yx", "mean"])
def test_without_change_it_is_a_copy_bit_for_bit(step: str, order: str) -> None:
    features, zero = torch.randn(2, DIM, 2, 3), torch.zeros(DIM, DIM)
    found = law(zero, zero, step=step, order=order)(features, (1, 2), (5, 6))
    assert torch.equal(found, Copy(DIM)(features, (1, 2), (5, 6)))


def test_it_begins_near_a_copy() -> None:
    features = torch.randn(2, 64, 4, 4)
    copied = Copy(64)(features, (2, 2), (8, 8))
    assert (LinearPDE(64)(features, (2, 2), (8, 8)) - copied).abs().max() < 0.5


@pytest.mark.parametrize("corner", [(0, 0), (1, 3), (3, 2)])
def test_is_what_cell_by_cell_gives(corner: tuple[int, int]) -> None:
    a, b = (0.3 * torch.randn(DIM, DIM, dtype=torch.float64) for _ in range(2))
    features = torch.randn(2, DIM, 2, 3, dtype=torch.float64)
    found = law(a, b)(features, corner, (5, 7))
    torch.testing.assert_close(found, naive(features, corner, (5, 7), a, b))


@pytest.mark.peer
def test_powers_are_scipys_exponentials() -> None:
    a = 0.5 * torch.randn(DIM, DIM, dtype=torch.float64)
    for k, power in enumerate(powers(torch.matrix_exp(a), 9)):
        torch.testing.assert_close(power.numpy(), expm(k * a.numpy()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("corner", [(0, 0), (2, 3), (4, 4)])
def test_an_exact_flow_is_reconstructed_from_any_block(corner: tuple[int, int]) -> None:
    a, b = commuting()
    torch.testing.assert_close(a @ b, b @ a)
    start = torch.randn(DIM, dtype=torch.float64)
    u = torch.stack(
        [
            torch.stack([torch.matrix_exp(x * a + y * b) @ start for x in range(8)], -1)
            for y in range(8)
        ],
        -2,
    )[None]
    i, j = corner
    block = u[:, :, i : i + 4, j : j + 4]
    whole = law(a, b)(block, corner, (8, 8))
    torch.testing.assert_close(whole, u, atol=1e-5, rtol=1e-5)
    other = law(a, b, order="yx")(block, corner, (8, 8))
    torch.testing.assert_close(other, whole, atol=1e-5, rtol=1e-5)


def test_orders_differ_by_the_commutator_to_first_order() -> None:
    a, b = (torch.randn(DIM, DIM, dtype=torch.float64) for _ in range(2))
    features = torch.randn(1, DIM, 1, 1, dtype=torch.float64)
    errors = []
    for size in (1e-3, 1e-4):
        # One step along each axis: M_y M_x - M_x M_y = [B, A] to second order in their size.
        xy, yx = (
            law(size * a, size * b, order=order)(features, (0, 0), (2, 2))[0, :, 1, 1]
            for order in ("xy", "yx")
        )
        wanted = size**2 * (b @ a - a @ b) @ features[0, :, 0, 0]
        errors.append(float((xy - yx - wanted).norm() / wanted.norm()))
    assert errors[0] < 0.05
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2)


def test_euler_becomes_exp_with_smaller_steps() -> None:
    a = 0.5 * torch.randn(DIM, DIM, dtype=torch.float64)
    exact = torch.matrix_exp(a)
    errors = [
        float((powers(law(a / n, a, step="euler").one_step(a / n, 1), n + 1)[n] - exact).norm())
        for n in (50, 100, 200)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.05)


def test_left_of_right() -> None:
    a = 0.3 * torch.randn(DIM, DIM, dtype=torch.float64)
    eye = torch.eye(DIM, dtype=torch.float64)
    exp, euler = law(a, a), law(a, a, step="euler")
    torch.testing.assert_close(exp.one_step(a, -1) @ exp.one_step(a, 1), eye)
    torch.testing.assert_close(euler.one_step(a, -1) @ euler.one_step(a, 1), eye - a @ a)


def test_a_scalar_solves_the_heat_equation_at_rest() -> None:
    """By second differences of a refined grid: u_xx + S u_yy = 0 with S = -a^2 / b^2."""
    a, b, h = 0.7, 0.4, 0.01
    one = torch.ones(1, 1, dtype=torch.float64)
    u = law(h * a * one, h * b * one)(torch.ones(1, 1, 1, 1).double(), (1, 1), (3, 3))[0, 0]
    u_xx = (u[1, 2] - 2 * u[1, 1] + u[1, 0]) / h**2
    u_yy = (u[2, 1] - 2 * u[1, 1] + u[0, 1]) / h**2
    assert float(u_xx) == pytest.approx(a**2, rel=1e-4)
    assert float(u_xx - a**2 / b**2 * u_yy) == pytest.approx(0, abs=1e-5)


def test_figures_and_penalty() -> None:
    a = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    found = law(a, a.T, commute_weight=2.0)
    # [A, B] = diag(1, -1): the norm is sqrt(2), those of A and B are 1.
    assert found.figures(1)["path_gap"] == pytest.approx(2**0.5)
    assert float(found.penalty()) == pytest.approx(2.0)
    eye = torch.eye(2)
    assert law(0.5 * eye, 0.1 * eye).figures(4)["growth"] == pytest.approx(2.0)
    assert law(eye, eye).penalty() == 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="dim=3 must be even"):
        LinearPDE(3, commute="shared_basis")
    with pytest.raises(ValueError, match="commute_weight must be at least 0, not -1"):
        LinearPDE(4, commute_weight=-1)
    with pytest.raises(ValueError, match="up to 65 steps, at most 64"):
        LinearPDE(4, step="euler")(torch.randn(1, 4, 2, 2), (0, 0), (66, 66))
