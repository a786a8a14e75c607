"""Low-rank factors: gradients by autograd, the increment in closed form, bounds of the rank."""

from typing import Any

import pytest
import torch
from torch import Tensor

from suexp.nn.low_rank import LowRank, check_low_rank

VARIANTS: list[Any] = ["product", "additive"]


def example(**settings: Any) -> tuple[Tensor, Tensor, LowRank]:
    """Return inputs, a weight (8, 12), and its factors."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 12, dtype=torch.float64, generator=generator)
    w = torch.randn(8, 12, dtype=torch.float64, generator=generator)
    made = LowRank(w, 4, 2.0, **{"init": "symmetric", "name": "w", **settings}).double()
    return x, w, made


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_change_is_what_the_factors_add(variant: Any) -> None:
    x, w, made = example(variant=variant)
    torch.testing.assert_close(x @ w.T + made(x), x @ (w + made.delta()).T)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_projections_of_the_whole_one(variant: Any) -> None:
    x, w, made = example(variant=variant)
    whole = w.clone().requires_grad_()
    (x @ whole.T + made(x)).tanh().sum().backward()
    found = made.down.grad, made.up.grad
    # At the merged weight the gradient of W is that of the change.
    merged = (w + made.delta().detach()).requires_grad_()
    (x @ merged.T).tanh().sum().backward()
    assert merged.grad is not None
    made.project(merged.grad)
    for a, b in zip(found, (made.down.grad, made.up.grad), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def test_the_increment_of_a_step() -> None:
    """A'B' - AB = -eta (G B'B + A A'G) + eta^2 G B'A'G, in the post's convention."""
    _, _, made = example()
    g = torch.randn(12, 8, dtype=torch.float64)  # of the post's W, whose transpose is ours
    a, b, eta = made.down.detach().T.clone(), made.up.detach().T.clone(), 0.1
    made.scale = 1.0
    made.project(g.T)
    before = made.delta().detach()
    with torch.no_grad():
        for p in made.parameters():
            assert p.grad is not None
            p -= eta * p.grad
    found = (made.delta() - before).detach().T
    expected = -eta * (g @ b.T @ b + a @ a.T @ g) + eta**2 * g @ b.T @ a.T @ g
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_the_first_step_from_a_zero_projects_on_the_rows_of_b() -> None:
    _, _, made = example(init="a_zero")
    g, made.scale, b = torch.randn(12, 8, dtype=torch.float64), 1.0, made.up.detach().T.clone()
    made.project(g.T)
    assert made.up.grad is not None
    assert made.down.grad is not None
    assert made.up.grad.abs().max() == 0
    change = made.up.detach() @ (-0.1 * made.down.grad)
    torch.testing.assert_close(change.T, -0.1 * g @ b.T @ b)


@pytest.mark.parametrize(("variant", "rank", "most"), [("product", 3, 3), ("additive", 1, 2)])
def test_the_rank_is_bounded(variant: Any, rank: int, most: int) -> None:
    made = LowRank(torch.empty(8, 12), rank, init="symmetric", variant=variant)
    assert int(torch.linalg.matrix_rank(made.delta())) == most


def test_additive_factors_by_hand() -> None:
    made = LowRank(torch.empty(2, 4), 1, init="symmetric", variant="additive")
    expected = made.down + made.up
    torch.testing.assert_close(made.delta(), expected)


def test_starts() -> None:
    w = torch.empty(400, 100)
    made = LowRank(w, 50, init="symmetric", name="w")
    assert made.down.std().item() == pytest.approx(0.1, rel=0.05)
    assert made.up.std().item() == pytest.approx(0.05, rel=0.05)
    peft = LowRank(w, 50, law="peft", name="w")
    assert peft.down.abs().max().item() == pytest.approx(0.1, rel=0.01)
    assert peft.up.abs().max() == 0
    again, other = (LowRank(w, 50, init="symmetric", name=name) for name in ("w", "v"))
    assert again.down.equal(made.down)
    assert not other.down.equal(made.down)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((0, "b_zero", "gaussian", "product", False), "rank"),
        ((2, "both_zero", "gaussian", "product", False), "A=B=0 is a stationary point"),
    ],
)
def test_mistakes_are_told(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_low_rank(*settings)


def test_ranks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="rank 9 is more than w 8 x 12 has"):
        LowRank(torch.empty(8, 12), 9, name="w")
    with pytest.raises(ValueError, match="rank 3 does not divide both sides of w 8 x 12"):
        LowRank(torch.empty(8, 12), 3, variant="additive", name="w")
