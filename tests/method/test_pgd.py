"""PGD: a reference written out, the ball, and its first step."""

import copy
import doctest
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import suexp.method.pgd
from suexp.method._perturbation import Ball
from suexp.method.fgm import FGM
from suexp.method.pgd import PGD
from suexp.nn.intervene import Reading, shifted
from tests.method.test_fgm import linear_task
from tests.method.texts import batch, gradient, model, task_of


def reference(network: Any, rows: Any, epsilon: float, alpha: float, steps: int) -> Tensor:
    """The loss of L2-PGD, sample by sample, as the papers' codes have it."""
    x = network.embedding(rows["tokens"]).detach()
    keep = rows["keep"]
    delta = torch.zeros_like(x)

    def loss(delta: Tensor) -> Tensor:
        with shifted(network, [delta]):
            return F.cross_entropy(network(rows["tokens"], keep=keep), rows["label"])

    for _ in range(steps):
        delta.requires_grad_()
        (g,) = torch.autograd.grad(loss(delta), delta)
        for b in range(len(x)):
            g[b] = g[b] * keep[b, :, None]
            moved = delta[b].detach() + alpha * g[b] / (g[b].norm() + 1e-8)
            g[b] = moved * min(1.0, epsilon / float(moved.norm()))
        delta = g
    return loss(delta)


@pytest.mark.parametrize("alpha", [None, 0.3, 2.0])
def test_it_is_the_reference(alpha: float | None) -> None:
    network, rows = model(), batch()
    method = PGD(epsilon=0.8, alpha=alpha, granularity="sample")
    task = task_of(network, method)
    found = method.objective(task, rows, task.objective)
    expected = reference(network, rows, 0.8, 0.4 if alpha is None else alpha, 3)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)


def test_one_whole_step_is_fgm() -> None:
    network, rows = model(), batch()
    ours = gradient(task_of(network, PGD(epsilon=0.5, alpha=0.5, steps=1)), rows)
    fgm = gradient(task_of(network, FGM(epsilon=0.5)), rows)
    for one, other in zip((ours[0], *ours[1]), (fgm[0], *fgm[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)


def test_no_epsilon_is_plain_training() -> None:
    network = model(dropout=0.3)
    plain = gradient(task_of(copy.deepcopy(network)), batch())
    none = gradient(task_of(copy.deepcopy(network), PGD(epsilon=0)), batch())
    assert all(map(torch.equal, (plain[0], *plain[1]), (none[0], *none[1])))


@pytest.mark.parametrize("random_start", [False, True])
def test_a_linear_model_is_hit_where_it_hurts_most(random_start: bool) -> None:
    """Where FGM is exact, the steps of PGD reach the same."""
    task, rows, margin, w = linear_task()
    method = PGD(epsilon=0.4, steps=40, random_start=random_start, granularity="sample")
    found = method.objective(task, rows, task.objective)
    worst = F.softplus(-(margin - 0.4 * w.norm())).mean()
    torch.testing.assert_close(found, worst, rtol=1e-5, atol=0)


def test_steps_end_in_the_ball() -> None:
    readings = [Reading(torch.tensor([[1, 2, 2], [3, 0, 0]]), torch.zeros(2, 3, 4))]
    for granularity, many in (("matrix", 3), ("sample", 4), ("token", 4)):
        torch.manual_seed(0)
        ball = Ball(readings, granularity, "l2", pad=0)  # type: ignore[arg-type]
        drawn = ball.drawn()
        (inside,) = ball.norms(ball.inside(drawn, 0.5))
        assert inside[inside > 0].allclose(torch.tensor(0.5))
        assert int((drawn[0].norm(dim=-1) > 0).sum()) == many
        small = [0.01 * part for part in drawn]
        torch.testing.assert_close(ball.inside(small, 0.5), small)
        (shift,) = ball.push(drawn)
        assert shift.shape == (2, 3, 4)
        assert shift[1, 1:].abs().max() == 0  # padding
        if granularity == "matrix":
            assert torch.equal(shift[0, 1], shift[0, 2])


def test_a_start_is_uniform_in_the_ball() -> None:
    """Of n dimensions a share of 2^-n lies within half the radius."""
    readings = [Reading(None, torch.zeros(20000, 2))]
    (drawn,) = Ball(readings, "sample", "l2", None).within(3.0)
    radius = drawn.norm(dim=1)
    assert radius.max() <= 3
    assert (radius < 1.5).double().mean() == pytest.approx(0.25, abs=0.01)
    (drawn,) = Ball(readings, "sample", "linf", None).within(3.0)
    assert drawn.abs().max() <= 3
    assert drawn.abs().mean() == pytest.approx(1.5, abs=0.03)


def test_two_readings_of_a_row_have_one_norm() -> None:
    readings = [Reading(None, torch.zeros(2, 3, 4)), Reading(None, torch.zeros(2, 5, 4))]
    ball = Ball(readings, "sample", "l2", None)
    one, other = ball.unit(ball.drawn())
    both = one.flatten(1).square().sum(1) + other.flatten(1).square().sum(1)
    torch.testing.assert_close(both, torch.ones(2))


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1"):
        PGD(steps=0)
    with pytest.raises(ValueError, match="alpha must be at least 0"):
        PGD(alpha=-1.0)


def test_its_example() -> None:
    assert doctest.testmod(suexp.method.pgd).failed == 0
