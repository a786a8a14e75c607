import math

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from suexp.attention import Taylor
from suexp.attention.taylor import TaylorFeatures, taylor_exp
from suexp.mask import Bidirectional, Causal, Padding

KEEP = torch.tensor([[True] * 50 + [False] * 21, [False] * 5 + [True] * 66])


def draw(n: int, d: int = 6) -> list[Tensor]:
    return [torch.randn(2, 3, n, d, dtype=torch.float64, requires_grad=True) for _ in range(3)]


# The polynomial.


@pytest.mark.parametrize(
    ("order", "place", "least"),
    [
        (2, -1.0, 0.5),
        (4, -1.5961, 0.270395),
        (6, -2.1806, 0.149325),
        (8, -2.7590, 0.083271),
        (10, -3.3336, 0.046699),
    ],
)
def test_least_values(order: int, place: float, least: float) -> None:
    def f(x: float, n: int) -> float:
        return taylor_exp(torch.tensor(x, dtype=torch.float64), n).item()

    root = brentq(lambda x: f(x, order - 1), -order, 0, xtol=1e-13)
    assert root == pytest.approx(place, abs=1e-4)
    assert f(root, order) == pytest.approx(least, abs=1e-6)
    assert f(root, order) == pytest.approx(root**order / math.factorial(order), abs=1e-12)
    grid = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    assert taylor_exp(grid, order).min() == pytest.approx(least, abs=1e-6)


def test_even_orders_are_positive_and_odd_ones_are_not() -> None:
    x = torch.linspace(-100, 100, 20_001, dtype=torch.float64)
    for order in range(2, 21, 2):
        assert (taylor_exp(x, order) > 0).all()
    assert taylor_exp(torch.tensor(-3.0), 3) < 0


def test_its_derivative_is_the_order_below() -> None:
    x = torch.linspace(-5, 5, 101, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(taylor_exp(x, 6).sum(), x)
    torch.testing.assert_close(slope, taylor_exp(x, 5), rtol=1e-10, atol=1e-10)


# The attention.


def test_features_are_the_polynomial_of_the_product() -> None:
    x, y = torch.randn(2, 1, 40, 6, dtype=torch.float64)
    phi = TaylorFeatures(6, 2, False)
    assert phi(x)[0].shape == (1, 40, 1 + 6 + 21)
    expected = taylor_exp(x @ y.mT / 6**0.5, 2)
    torch.testing.assert_close(phi(x)[0] @ phi(y)[0].mT, expected)
    assert (expected >= 0.5).all()


def test_features_are_those_of_based() -> None:
    """Products of all d^2 pairs, as HazyResearch's TaylorExp packs them, give the same scores."""

    def full(x: Tensor) -> Tensor:
        pairs = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2) / math.sqrt(2)
        return torch.cat((torch.ones_like(x[..., :1]), x / 6**0.25, pairs / 6**0.5), -1)

    q, k = torch.randn(2, 1, 30, 6, dtype=torch.float64)
    phi = TaylorFeatures(6, 2, False)
    torch.testing.assert_close(phi(q)[0] @ phi(k)[0].mT, full(q) @ full(k).mT)


@pytest.mark.parametrize(("order", "cosine"), [(2, False), (2, True), (1, True)])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_linear_and_quadratic_forms_agree(
    mask: Causal | Bidirectional, padded: bool, order: int, cosine: bool
) -> None:
    inputs = draw(71)
    seen = mask & Padding(KEEP) if padded else mask
    outs = [
        Taylor(6, order, cosine, form, chunk_size=16)(*inputs, seen)
        for form in ("linear", "quadratic")
    ]
    torch.testing.assert_close(*outs, rtol=1e-9, atol=1e-11)
    g = torch.randn_like(outs[0])
    torch.testing.assert_close(
        *(torch.autograd.grad(out, inputs, g) for out in outs), rtol=1e-8, atol=1e-10
    )


def test_weights_by_hand() -> None:
    q = torch.tensor([[[[2.0]]]])
    k = torch.tensor([[[[0.0], [-0.5]]]])
    v = torch.tensor([[[[1.0], [3.0]]]])
    for form in ("linear", "quadratic"):  # f(0) = 1, f(-1) = 1/2
        out = Taylor(1, implementation=form)(q, k, v, Bidirectional())
        assert out.item() == pytest.approx((1 + 3 * 0.5) / 1.5)


def test_high_orders_approach_softmax() -> None:
    q, k, v = draw(30)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    out = Taylor(6, 24, implementation="quadratic")(q, k, v, Bidirectional())
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-8)


def test_quadratic_form_decodes_as_a_whole_text() -> None:
    attention = Taylor(6, 4, implementation="quadratic")
    q, k, v = draw(12)
    whole, state = attention(q, k, v, Causal()), None
    for i in range(12):
        now = slice(i, i + 1)
        out, state = attention.decode(
            q[:, :, now], k[:, :, now], v[:, :, now], Causal(), None, state
        )
        torch.testing.assert_close(out, whole[:, :, now])


def test_gradient_and_its_gradient() -> None:
    attention = Taylor(2, chunk_size=3)
    inputs = [torch.randn(1, 1, 7, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    for mask in (Causal(), Bidirectional()):
        assert torch.autograd.gradcheck(lambda *x, m=mask: attention(*x, m), inputs)
        second = torch.autograd.gradgradcheck
        assert second(lambda *x, m=mask: attention(*x, m), inputs, fast_mode=True)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"order": 3}, "Taylor order must be even"),
        ({"order": 1}, "or 1 with l2_normalize=true"),
        ({"order": 0}, "order 0: Taylor order must be even"),
        ({"order": 4}, r"order 4 has d\^4 features; use implementation=quadratic"),
        ({"implementation": "cubic"}, "linear, quadratic, not 'cubic'"),
    ],
)
def test_refusals(arguments: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Taylor(6, **arguments)  # type: ignore[arg-type]
