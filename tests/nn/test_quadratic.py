"""Known answers of https://kexue.fm/archives/6992: scikit-learn's sets, whole."""

import itertools

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import Tensor

from suexp.nn.quadratic import FORMS, hessians, largest_stable_rate


def second_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.T @ x / len(x), x.mean(0)


def digits() -> Tensor:
    return torch.as_tensor(load_digits().data, dtype=torch.float64)


def lmax(h: Tensor) -> float:
    return float(torch.linalg.eigvalsh(h)[-1])


def test_of_the_digits() -> None:
    found = hessians(*second_moments(digits()), bias=False)
    assert [lmax(found[form]) for form in FORMS] == pytest.approx(
        [2677, 178.9, 101.2, 7.34], rel=1e-3
    )
    entries = [float(found[form].abs().sum()) for form in FORMS]
    assert entries == pytest.approx([9.89e4, 1.02e4, 3969, 513], rel=5e-3)
    assert [float(found[form].trace()) for form in FORMS] == pytest.approx(
        [3844, 1201, 161, 61], rel=1e-3
    )


def test_of_the_logistic_loss_at_zero_weights() -> None:
    x = torch.as_tensor(load_breast_cancer().data, dtype=torch.float64)
    found = hessians(*second_moments(x))
    assert [lmax(found[form]) / 4 for form in FORMS] == pytest.approx(
        [4.16e5, 1.11e5, 98.9, 3.32], rel=5e-3
    )


def test_each_form_is_what_its_input_gives() -> None:
    torch.manual_seed(0)
    x = 2 + torch.randn(50, 4).double() * torch.tensor([1.0, 3.0, 0.1, 1.0])
    x[:, 3] = 0  # always
    mean, deviation = x.mean(0), x.std(0, correction=0).clamp(min=1e-30)
    inputs = {
        "raw": x, "center": x - mean, "scale": x / deviation, "standard": (x - mean) / deviation
    }  # fmt: skip
    ones = torch.ones(50, 1).double()
    for form, h in hessians(*second_moments(x)).items():
        joined = torch.cat([inputs[form], ones], 1)
        torch.testing.assert_close(h, joined.T @ joined / 50, atol=1e-12, rtol=1e-12)


def test_centring_lowers_the_curvature_and_the_mean_is_the_best_centre() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        mean = torch.randn(5, generator=generator).double()
        x = mean + torch.randn(30, 5, generator=generator).double()
        found = hessians(*second_moments(x), bias=False)
        low, high = lmax(found["center"]), lmax(found["raw"])
        assert low <= high <= low + float(x.mean(0).square().sum()) + 1e-12
    other = x.mean(0) + 0.1 * torch.randn(1000, 5, generator=generator).double()
    distances = (x[None] - other[:, None]).square().sum(-1).mean(1)
    assert (distances > (x - x.mean(0)).square().sum(-1).mean()).all()


def test_below_two_over_lmax_every_step_lowers_the_loss_above_it_diverges() -> None:
    h = hessians(*second_moments(digits() / 16))["raw"]
    for factor in (1.99, 2.01):
        w = torch.linalg.eigh(h).eigenvectors.sum(1)
        losses = []
        for _ in range(1000):
            losses.append(float(w @ h @ w))
            w = w - factor / lmax(h) * (h @ w)
        falls = all(b < a for a, b in itertools.pairwise(losses))
        assert falls if factor < 2 else losses[-1] > 1e3 * losses[0]


@pytest.mark.parametrize("form", FORMS)
def test_the_largest_rate_that_descends_is_found(form: str) -> None:
    h = hessians(*second_moments(digits()))[form]
    assert largest_stable_rate(h, 300) * lmax(h) / 2 == pytest.approx(1, abs=0.03)
