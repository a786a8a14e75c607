"""Sparse softmax: its limits, its loss, its gradient, and what goes with it."""

import pytest
import torch
import torch.nn.functional as F

from suexp.config.compose import resolve
from suexp.errors import Misfit
from suexp.loss import CrossEntropy
from suexp.normalizer import Softmax, Sparse


def scores(rows: int = 6, classes: int = 9) -> torch.Tensor:
    return torch.randn(rows, classes, dtype=torch.float64)


@pytest.mark.parametrize("k", [9, 10, 1000])
def test_with_k_for_every_class_it_is_softmax(k: int) -> None:
    z, target = scores().requires_grad_(), torch.tensor([0, 8, 3, 3, -100, 1])
    expected = F.cross_entropy(z, target, reduction="sum")
    gradient = torch.autograd.grad(expected, z)[0]
    found = Sparse(k).cross_entropy(z, target)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, z)[0], gradient)
    assert torch.equal(Sparse(k).predict(z), Softmax().predict(z))


def test_with_k_1_it_is_the_distance_to_the_largest() -> None:
    z, target = scores(), torch.tensor([0, 8, 3, 3, -100, 1])
    rows = target >= 0
    distance = z.amax(-1) - z.gather(1, target.clamp(min=0)[:, None])[:, 0]
    torch.testing.assert_close(Sparse(1).cross_entropy(z, target), distance[rows].sum())
    assert torch.equal(Sparse(1).predict(z), F.one_hot(z.argmax(-1), 9).double())


@pytest.mark.parametrize("k", [1, 2, 5])
def test_only_the_k_largest_are_probable_and_the_best_stays_so(k: int) -> None:
    z = scores(50)
    p = Sparse(k).predict(z)
    assert ((p > 0).sum(-1) == k).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(50, dtype=torch.float64))
    assert torch.equal(Sparse(k).best(z), z.argmax(-1))
    ratio = p.gather(1, z.topk(k).indices)
    torch.testing.assert_close(ratio / ratio[:, :1], (z.topk(k).values - z.amax(-1, True)).exp())


@pytest.mark.parametrize("k", [1, 3, 9])
def test_the_loss_is_at_least_0_and_its_gradient_lifts_a_target_that_does_not_count(k: int) -> None:
    z = scores(9).requires_grad_()
    target = z.argmin(-1)
    (gradient,) = torch.autograd.grad(Sparse(k).cross_entropy(z, target), z)
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(9, dtype=torch.float64))
    assert (gradient.gather(1, target[:, None]) < 0).all()
    for row in range(9):
        one = Sparse(k).cross_entropy(z[row : row + 1], target[row : row + 1])
        assert one >= 0
    if k < 9:
        torch.testing.assert_close(
            gradient.gather(1, target[:, None])[:, 0], -torch.ones(9, dtype=torch.float64)
        )
        torch.testing.assert_close((gradient != 0).sum(-1), torch.full((9,), k + 1))


def test_the_margin_that_a_probability_asks_for_is_that_of_k_classes() -> None:
    # All others equal: p of the target is .9 at log(9 (k - 1)), whatever the number of classes.
    z = torch.zeros(1, 500, dtype=torch.float64)
    z[0, 7] = torch.tensor(9.0 * 9).log()
    assert Sparse(10).predict(z)[0, 7].item() == pytest.approx(0.9)
    assert Softmax().predict(z)[0, 7].item() == pytest.approx(81 / (81 + 499))


def test_low_precision_is_widened_and_what_does_not_count_is_left_out() -> None:
    z = scores().bfloat16()
    loss = CrossEntropy(normalizer=Sparse(3))
    nothing = torch.full((6,), -100)
    assert loss(z, nothing).item() == 0
    assert loss(z, torch.arange(6)).dtype == torch.float32
    expected = Sparse(3).cross_entropy(z.float(), torch.arange(6)) / 6
    torch.testing.assert_close(loss(z, torch.arange(6)), expected)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        Sparse(0)
    loss = CrossEntropy(label_smoothing=0.1, normalizer=Sparse(3))
    with pytest.raises(ValueError, match=r"probabilities of 0; use loss\.label_smoothing=0"):
        loss(scores(), torch.arange(6))
    with pytest.raises(Misfit, match=r"normalizer=sparse cannot be combined with loss=cross_"):
        resolve(["normalizer=sparse", "loss.label_smoothing=0.1"])
    with pytest.raises(Misfit, match="normalizer=sparse cannot be combined with loss=tailr"):
        resolve(["normalizer=sparse", "loss=tailr"])
    assert resolve(["normalizer=sparse"]).config["loss"]["normalizer"]["k"] == 10
