"""Entropies of normal scores, and the least that cosines can have."""

import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch

from suexp.task.softmax_information import SoftmaxInformation, entropy, least_entropy, specht

Estimate = Callable[..., dict[str, float]]


def test_entropy_is_scipys_and_torchs() -> None:
    scores = 5 * torch.randn(40, 30, dtype=torch.float64)
    found = entropy(scores)
    peer = torch.distributions.Categorical(logits=scores).entropy()
    torch.testing.assert_close(found, peer, rtol=0, atol=1e-10)
    other = scipy.stats.entropy(scores.softmax(-1).numpy(), axis=-1)
    assert found.numpy() == pytest.approx(other, abs=1e-10)


def test_entropy_lies_between_0_and_log_n() -> None:
    scores = 10 ** torch.linspace(-3, 3, 50)[:, None] * torch.randn(50, 64)
    found = entropy(scores)
    assert (found >= 0).all()
    assert (found <= math.log(64) + 1e-5).all()
    assert entropy(torch.full((64,), 7.0)) == pytest.approx(math.log(64), abs=1e-6)


def test_information_of_normal_scores_is_half_their_variance(estimate: Estimate) -> None:
    metrics = estimate(SoftmaxInformation([0.5, 1, 2], [16384], tries=1), 100, 50)
    for sigma, wanted, tolerance in ((0.5, 0.125, 0.003), (1, 0.5, 0.01), (2, 2.0, 0.05)):
        found = metrics[f"test/information_s{sigma:g}_n16384"]
        assert found == pytest.approx(wanted, abs=tolerance)


def test_beyond_the_freezing_point_entropy_stays_of_order_1(estimate: Estimate) -> None:
    task = SoftmaxInformation([8.0], [64, 16384], tries=1)
    estimate(task, 50, 50)
    low, high = (row["entropy"] for row in task.tables["normal"])
    assert 0 < low < high < 2
    assert [row["expected"] for row in task.tables["normal"]] == [0, 0]


@pytest.mark.parametrize(("n", "gain"), [(10, 0.474356), (100, 0.474399), (1000, 0.474474)])
def test_least_entropy_at_temperature_1(n: int, gain: float) -> None:
    assert math.log(n) - least_entropy(n, 1.0) == pytest.approx(gain, abs=1e-6)
    assert math.log(n) - least_entropy(n, 1.0) <= specht(1.0)


def test_spechts_ratio() -> None:
    assert specht(1.0) == pytest.approx(0.4744746, abs=1e-7)
    for tau, bound in ((0.5, 1.670), (0.2, 6.698), (0.1, 16.00), (0.05, 35.3)):
        assert specht(tau) == pytest.approx(bound, abs=0.02)
    h = math.exp(4)
    ratio = (h - 1) * h ** (1 / (h - 1)) / (math.e * math.log(h))
    assert specht(0.5) == pytest.approx(math.log(ratio), abs=1e-12)


@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_least_entropy_is_that_of_vectors_of_ends(tau: float) -> None:
    k = torch.arange(13)
    ends = torch.where(torch.arange(12) < k[:, None], 1.0, -1.0).double()
    assert least_entropy(12, tau) == pytest.approx(float(entropy(ends / tau).min()), abs=1e-12)


@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_descent_finds_nothing_below(tau: float) -> None:
    """From anywhere, following the gradient within the cube ends at or above the least."""
    s = (torch.rand(50, 8, dtype=torch.float64) * 2 - 1).requires_grad_()
    optimizer = torch.optim.Adam([s], lr=0.1)
    for _ in range(150):
        (gradient,) = torch.autograd.grad(entropy(s / tau).sum(), s)
        s.grad = gradient
        optimizer.step()
        s.data.clamp_(-1, 1)
    found = entropy(s / tau).min().item()
    assert least_entropy(8, tau) - 1e-9 <= found < least_entropy(8, tau) + 0.02


def test_no_vector_of_cosines_goes_below(estimate: Estimate) -> None:
    """A hundred thousand of them."""
    task = SoftmaxInformation([1.0], [10], [1.0, 0.1], [10, 20], tries=1000)
    metrics = estimate(task, 100, 50)
    for tau in ("1", "0.1"):
        assert metrics[f"test/margin_tau{tau}"] > -1e-12
    assert metrics["test/gain_tau1"] <= metrics["test/bound_tau1"] == specht(1.0)
    assert {row["what"] for row in task.tables["band"]} == {"least", "largest"}


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="taus must "):
        SoftmaxInformation(taus=[0.0])
    with pytest.raises(ValueError, match="at least 1"):
        SoftmaxInformation(tries=0)
