import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from suexp.attention.taylor import taylor_exp
from suexp.normalizer import Softmax, Taylor
from suexp.normalizer.taylor import HIGHEST, log_taylor, roots

ORDERS = [2, 4, 6, 10, 20, HIGHEST]


def exact(x: float, order: int) -> float:
    """The polynomial in rational numbers, then its logarithm."""
    value, power = Fraction(1), Fraction(1)
    for k in range(1, order + 1):
        power = power * Fraction(x) / k
        value += power
    return math.log(value.numerator) - math.log(value.denominator)


@pytest.mark.parametrize("order", ORDERS)
def test_logarithm_is_exact_on_both_sides_of_zero(order: int) -> None:
    x = torch.cat((torch.linspace(-3 * order, 3 * order, 121), torch.linspace(-5, 5, 51)))
    expected = torch.tensor([exact(value, order) for value in x.tolist()], dtype=torch.float64)
    assert len(roots(order)) == order // 2
    torch.testing.assert_close(log_taylor(x.double(), order), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_taylor(x, order).double(), expected, rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("order", [2, 4, 6, 8, 10])
def test_agrees_with_horners_rule(order: int) -> None:
    x = torch.linspace(-20, 20, 1001, dtype=torch.float64)
    torch.testing.assert_close(log_taylor(x, order).exp(), taylor_exp(x, order), rtol=1e-9, atol=0)


def test_the_minimum_survives_bfloat16() -> None:
    # Horner's rule in bfloat16 gives a third of it: .0156.
    z = torch.linspace(-20, 20, 4001).bfloat16()[:, None]
    weights = Taylor(10).log_weights(z).exp()
    assert weights.dtype == torch.float32
    assert weights.min().item() == pytest.approx(0.046699, abs=2e-5)


@pytest.mark.parametrize("order", [2, 10, HIGHEST])
def test_no_score_is_too_large(order: int) -> None:
    z = torch.tensor([[1e30, -1e30, 0.0], [3e38, 1.0, -1.0]], requires_grad=True)
    normalizer = Taylor(order)
    log_prob = normalizer.log_prob(z)
    expected = order * math.log(1e30) - math.lgamma(order + 1)
    assert normalizer.log_weights(z)[0, 0].item() == pytest.approx(expected, rel=1e-6)
    log_prob[:, 2].sum().backward()
    assert torch.isfinite(log_prob).all()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("order", [2, 4, 6])
def test_is_the_papers_sum(order: int) -> None:
    """As CoinCheung's pytorch-loss has it: terms one by one, divided by their sum."""
    z = 3 * torch.randn(8, 10)
    terms = torch.ones_like(z)
    for k in range(1, order + 1):
        terms = terms + z.pow(k) / math.factorial(k)
    expected = terms / terms.sum(-1, keepdim=True)
    torch.testing.assert_close(Taylor(order).predict(z), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_probabilities_sum_to_one(order: int) -> None:
    z = 10 * torch.randn(4, 3, 50, dtype=torch.float64)
    normalizer = Taylor(order)
    total = normalizer.predict(z).sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-12, atol=0)
    torch.testing.assert_close(normalizer.log_prob(z).exp(), normalizer.predict(z))
    assert (normalizer.predict(z) > 0).all()


def test_high_orders_are_softmax() -> None:
    z = 10 * torch.rand(100, 10, dtype=torch.float64) - 5
    assert torch.allclose(Taylor(30).log_prob(z), z.log_softmax(-1), rtol=0, atol=1e-5)
    z = z.float()
    assert torch.allclose(Taylor(30).log_prob(z), Softmax().log_prob(z), rtol=0, atol=1e-5)


def test_a_very_negative_score_is_probable() -> None:
    z = torch.tensor([[1.0, -10.0]])
    assert z.argmax(-1).item() == 0
    assert Taylor(2).best(z).item() == 1
    assert Taylor(2).predict(z)[0, 1].item() == pytest.approx(41 / 43.5)


def test_a_constant_matters() -> None:
    z = torch.tensor([[1.0, 2.0]])
    assert not torch.allclose(Taylor(2).predict(z), Taylor(2).predict(z + 1))


@pytest.mark.parametrize("order", [2, 4, 10])
def test_finite_gradient_is_the_functions(order: int) -> None:
    z = 3 * torch.randn(5, 4, dtype=torch.float64)
    z.requires_grad_()
    target = torch.tensor([0, 1, 2, 3, -100])
    normalizer = Taylor(order)

    def loss(z: Tensor) -> Tensor:
        return normalizer.cross_entropy(z, target, label_smoothing=0.1)

    assert torch.autograd.gradcheck(loss, (z,))
    assert torch.autograd.gradgradcheck(loss, (z,))
    slope = torch.autograd.grad(normalizer.log_weights(z).sum(), z)[0]
    torch.testing.assert_close(slope, taylor_exp(z, order - 1) / taylor_exp(z, order))


def test_the_minimum_is_a_dead_point() -> None:
    z = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(Taylor(2).log_weights(z).sum(), z)[0].item() == 0


@pytest.mark.parametrize("order", [2, 6])
def test_infinite_gradient_is_p_minus_onehot(order: int) -> None:
    z = 3 * torch.randn(6, 5, dtype=torch.float64)
    z.requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 4, 0])
    normalizer = Taylor(order, gradient="infinite")
    loss = normalizer.cross_entropy(z, target)
    assert loss.item() == Taylor(order).cross_entropy(z, target).item()
    expected = normalizer.predict(z) - torch.eye(5, dtype=torch.float64)[target]
    torch.testing.assert_close(torch.autograd.grad(loss, z)[0], expected)


def test_maps_over_a_batch() -> None:
    z = torch.randn(4, 3, dtype=torch.float64)
    slopes = torch.vmap(torch.func.grad(lambda row: log_taylor(row, 4).sum()))(z)
    torch.testing.assert_close(slopes, taylor_exp(z, 3) / taylor_exp(z, 4))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"order": 3}, "order 3: Taylor order must be even"),
        ({"order": 0}, "at least 2"),
        ({"order": 32}, "at most 30; use normalizer=softmax"),
    ],
)
def test_refusals(arguments: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Taylor(**arguments)  # type: ignore[arg-type]
