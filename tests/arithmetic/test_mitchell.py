"""Mitchell's products: the known answers of the post's spec, and fast sums against plain ones."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad
from torch import Tensor

from suexp.arithmetic import Mitchell
from suexp.arithmetic._bits import INTEGERS, layout
from suexp.arithmetic._logarithm import divide, exp2, log2, multiply, multiply_int
from suexp.arithmetic._sums import guarded, power
from suexp.arithmetic.base import Arithmetic

DTYPES = [*INTEGERS]


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_known_products(dtype: torch.dtype) -> None:
    x = torch.tensor([1.5, 1.5, 1.25, -1.5, -1.5, 3.0, 0.0, -0.0, 1.0], dtype=dtype)
    y = torch.tensor([1.5, 2.0, 1.25, 1.5, -1.5, 0.5, 3.0, 3.0, -7.0], dtype=dtype)
    wanted = [2.0, 3.0, 1.5, -2.0, 2.0, 1.5, 0.0, 0.0, -7.0]
    assert multiply(x, y).tolist() == wanted
    assert torch.equal(multiply(x, y), multiply(y, x))


def test_the_error_of_a_million_products() -> None:
    """At most a ninth; .0382 on average for numbers whose logarithm is normal."""
    x, y = normal(2, 10**6).exp()
    error = 1 - multiply(x, y).double() / (x.double() * y)
    assert error.min() >= 0
    assert 0.11108 < float(error.max()) <= 1 / 9 + 1e-9
    assert float(error.mean()) == pytest.approx(0.0382, abs=1e-4)


def test_the_mean_error_of_even_mantissas_is_that_of_the_integral() -> None:
    def surface(b: float, a: float) -> float:
        lost = a * b if a + b < 1 else (1 - a) * (1 - b)
        return lost / ((1 + a) * (1 + b))

    below = dblquad(surface, 0, 1, 0, lambda a: 1 - a)[0]
    above = dblquad(surface, 0, 1, lambda a: 1 - a, 1)[0]
    x, y = 1 + torch.rand(2, 10**6, generator=torch.Generator().manual_seed(0))
    found = multiply(x, y).double()
    assert below + above == pytest.approx(0.0385, abs=5e-5)
    assert float((1 - found / (x.double() * y)).mean()) == pytest.approx(below + above, abs=1e-4)
    assert float(found.mean() / (x.double() * y).mean()) == pytest.approx(26 / 27, abs=1e-3)


def test_the_surface_is_the_formula() -> None:
    a, b = torch.meshgrid(*[torch.arange(64) / 64] * 2, indexing="ij")
    small = a + b < 1
    wanted = torch.where(small, a * b, (1 - a) * (1 - b)) / ((1 + a) * (1 + b))
    found = 1 - multiply(1 + a, 1 + b).double() / ((1 + a).double() * (1 + b))
    torch.testing.assert_close(found, wanted.double(), atol=1e-7, rtol=0)
    assert float(found.max()) == pytest.approx(1 / 9)
    assert found.flatten().argmax() == 32 * 64 + 32  # a = b = 1/2


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_power_of_two_is_multiplied_exactly(dtype: torch.dtype) -> None:
    x = normal(1000, dtype=dtype)
    for k in (-3, 0, 5):
        factor = torch.tensor(2.0**k, dtype=dtype)
        assert torch.equal(multiply(x, factor), x * factor)


def test_it_is_associative_but_not_distributive() -> None:
    """Sums of integers are associative; products of sums are no sums of products."""
    x, y, z = normal(3, 10**5).exp()
    assert torch.equal(multiply(multiply(x, y), z), multiply(x, multiply(y, z)))
    one, half, more = (torch.tensor(v) for v in (1.0, 1.5, 1.75))
    assert multiply(half, one + more).item() == 3.75
    assert (multiply(half, one) + multiply(half, more)).item() == 4.0


def test_without_guards_the_range_wraps() -> None:
    tiny, zero, three = torch.tensor(1e-20), torch.tensor(0.0), torch.tensor(3.0)
    assert multiply(tiny, tiny, safe=False).item() == pytest.approx(-1.04e37, rel=0.01)
    assert multiply(zero, three, safe=False).item() == pytest.approx(1.8e-38, rel=0.05)
    assert multiply(tiny, tiny).item() == 0
    assert multiply(zero, three).item() == 0


def test_without_guards_it_is_the_same_where_none_is_needed() -> None:
    x, y = normal(2, 10**6)
    x, y = x.exp() * normal(10**6).sign(), y.exp()
    assert torch.equal(multiply(x, y), multiply(x, y, safe=False))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_the_range(dtype: torch.dtype) -> None:
    known = torch.finfo(dtype)
    large, tiny, one = (torch.tensor(v, dtype=dtype) for v in (known.max, known.tiny, 1.0))
    assert multiply(large, large).item() == math.inf
    assert multiply(-large, large).item() == -math.inf
    assert multiply(tiny, tiny).item() == 0
    assert multiply(tiny, one).item() == known.tiny
    assert multiply(tiny / 2, one).item() == 0  # a subnormal number
    infinite = one * math.inf
    assert multiply(infinite, -one).item() == -math.inf
    assert math.isnan(multiply(infinite, one * 0).item())
    assert math.isnan(multiply(one * math.nan, one).item())


def test_it_is_the_sum_of_the_cheap_logarithms() -> None:
    x, y = normal(2, 10**5).exp()
    product = exp2(log2(x) + log2(y))
    assert torch.equal(product, multiply(x, y))
    m, exponent = np.frexp(x.numpy())  # x = m 2^e with m in [1/2, 1)
    np.testing.assert_array_equal(log2(x).numpy(), exponent - 1 + 2 * m.astype(float) - 1)
    assert float((x.double().log2() - log2(x)).max()) == pytest.approx(0.0861, abs=1e-4)


def test_whole_numbers_of_1962() -> None:
    """Exhaustive: at most a ninth below, never above."""
    p = np.arange(1, 1024)
    exponent = np.frexp(p)[1] - 1
    mantissa = p / 2.0**exponent - 1
    both = mantissa[:, None] + mantissa
    sums = exponent[:, None] + exponent
    found = np.floor(np.where(both < 1, 2.0**sums * (1 + both), 2.0 ** (sums + 1) * both))
    for i, j in itertools.product((0, 1, 2, 5, 100, 554, 1022), repeat=2):
        assert multiply_int(int(p[i]), int(p[j])) == found[i, j]
    error = 1 - found / np.outer(p, p)
    assert error.min() == 0
    assert error.max() == pytest.approx(1 / 9)
    x = torch.from_numpy(p.astype("float32"))
    np.testing.assert_array_equal(multiply(x[:, None], x).floor().numpy(), found)


def test_quotients_are_at_most_an_eighth_too_large() -> None:
    x, y = normal(2, 10**5).exp()
    error = divide(x, y).double() / (x.double() / y) - 1
    assert error.min() >= -1e-7
    assert 0.1249 < float(error.max()) <= 0.125 + 1e-7
    assert divide(torch.tensor([3.0, 0.0, 1.0]), torch.tensor([-2.0, 2.0, 0.0])).tolist() == [
        -1.5,
        0.0,
        math.inf,
    ]


def test_an_offset_centres_the_error() -> None:
    x, y = 1 + torch.rand(2, 10**5, generator=torch.Generator().manual_seed(0))
    raised = Mitchell(offset=1 / 16).multiply(x, y)
    assert raised.mean() / (x * y).mean() == pytest.approx(1.01, abs=0.02)
    assert abs(1 - raised.mean() / (x * y).mean()) < abs(1 - multiply(x, y).mean() / (x * y).mean())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 0.0625])
def test_fast_sums_are_the_plain_ones(dtype: torch.dtype, offset: float) -> None:
    rule = Mitchell(offset=offset)
    x, w = normal(37, 65, dtype=dtype), normal(21, 65, dtype=dtype)
    x, w = x.masked_fill(x.abs() < 0.5, 0), w.masked_fill(w > 1.5, 0)
    x[2], w[3] = 0, 0
    x[5, 1:], w[7, 0] = 0, 0
    found = rule.sums(x, w)
    torch.testing.assert_close(found, Arithmetic.sums(rule, x, w), rtol=1e-6, atol=1e-6)
    for zero in (found[2], found[:, 3], found[5, 7]):
        assert torch.equal(zero, torch.zeros_like(zero))


def test_sums_of_numbers_far_from_one() -> None:
    rule, x, w = Mitchell(), normal(8, 16), normal(4, 16)
    rows = torch.tensor([1e-38, 1e-30, 1.0, 1e30, 1e37, 3e37, 1e-20, 1e20])[:, None]
    plain = rule.sums(x, w)
    scaled = rule.sums(x * rows, w)[1:6]
    torch.testing.assert_close(scaled, Arithmetic.sums(rule, x * rows, w)[1:6], rtol=2e-6, atol=0)
    # By powers of two, exactly.
    assert torch.equal(rule.sums(x * 2.0**40, w * 2.0**-60) * 2.0**20, plain)


def test_one_small_product_among_zeros() -> None:
    """What stands for zeros in between is taken off again."""
    x, w = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[2.0**-55, 1.0, 0.0]])
    assert Mitchell().sums(x, w).item() == 2.0**-55


def test_numbers_of_a_row_may_be_any_far_apart() -> None:
    x = torch.tensor([[3e38, 1.0, 1e-37]])
    assert guarded(x, x, 0) is None
    w = torch.tensor([[0.0, 0.0, 1.5]])
    assert Mitchell().sums(x, w).item() == multiply(x[0, 2], w[0, 2]).item() > 0


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_rows_without_a_number_give_none(bad: float) -> None:
    x, w = normal(3, 4), normal(2, 4)
    x[1, 2] = bad
    assert Mitchell().sums(x, w).isnan().tolist() == [[False] * 2, [True] * 2, [False] * 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_powers_of_two(dtype: torch.dtype) -> None:
    exponent = torch.tensor([[-100], [0], [100]], dtype=torch.int32)
    assert power(exponent, dtype).flatten().tolist() == [2.0**-100, 1.0, 2.0**100]
    assert layout(torch.float32).mantissa == 23


def test_a_matrix_of_powers_of_two_is_multiplied_exactly() -> None:
    x, w = normal(16, 32), torch.exp2(normal(8, 32).round())
    torch.testing.assert_close(Mitchell().sums(x, w), x @ w.T)


def test_sums_are_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = normal(37, 9), normal(5, 9)
    whole = Mitchell().sums(x, w)
    monkeypatch.setattr("suexp.arithmetic._sums.MOST", 100)
    assert torch.equal(Mitchell().sums(x, w), whole)
    assert Mitchell().sums(x[:0], w).shape == (0, 5)


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="needs numbers of one type"):
        multiply(torch.ones(1), torch.ones(1).double())
    with pytest.raises(ValueError, match=r"use float64.*multiply_int for integers"):
        layout(torch.int64)


@pytest.mark.parametrize("wrong", [{"mode": "fast"}, {"offset": -1.0}, {"scale": 0.0}])
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        Mitchell(**wrong)  # type: ignore[arg-type]
