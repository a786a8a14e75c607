import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from suexp.optimizer import EGD


def positive(size: int = 5) -> nn.Parameter:
    torch.manual_seed(0)
    return nn.Parameter(torch.rand(size, dtype=torch.float64) + 0.1)


def test_on_a_linear_loss_it_is_an_exponential() -> None:
    p, c = positive(), torch.tensor([1.0, -1.0, 0.3, 0.0, 2.0], dtype=torch.float64)
    start = p.detach().clone()
    optimizer = EGD([p], lr=0.1, signed=False)
    for t in range(1, 21):
        p.grad = c.clone()
        optimizer.step()
        torch.testing.assert_close(p, start * torch.exp(-0.1 * c * t), atol=1e-12, rtol=0)


def test_stays_positive() -> None:
    p = nn.Parameter(torch.ones(10))
    optimizer = EGD([p], lr=1.0, signed=False)
    for _ in range(10_000):
        p.grad = 3 * torch.randn(10) * p.detach().log().clamp(-3, 3).sign()
        optimizer.step()
        assert (p > 0).all()


def test_a_step_minimises_the_bregman_objective() -> None:
    p, g = positive(3), torch.tensor([0.7, -1.2, 0.1], dtype=torch.float64)
    start, slope = p.detach().numpy().copy(), 0.5 * g.numpy()

    def objective(x: np.ndarray) -> float:
        theta = np.exp(x)
        return float(np.sum(slope * theta + theta * np.log(theta / start) - theta + start))

    def gradient(x: np.ndarray) -> np.ndarray:
        return np.exp(x) * (slope + x - np.log(start))

    best = minimize(objective, np.zeros(3), jac=gradient, method="BFGS", options={"gtol": 1e-12})
    p.grad = g
    EGD([p], lr=0.5, signed=False).step()
    np.testing.assert_allclose(p.detach().numpy(), np.exp(best.x), atol=1e-8)


def test_normalised_it_is_a_softmax() -> None:
    torch.manual_seed(0)
    p, g = nn.Parameter(torch.rand(3, 4).double().softmax(-1)), torch.randn(3, 4).double()
    expected = (p.detach().log() - 0.3 * g).softmax(-1)
    p.grad = g
    EGD([p], lr=0.3, signed=False, normalize=True).step()
    torch.testing.assert_close(p.detach(), expected, atol=1e-15, rtol=1e-14)


def test_signed_it_is_the_difference_of_two_positive_ones() -> None:
    torch.manual_seed(0)
    p, beta = nn.Parameter(torch.randn(6).double()), 0.5
    root = (p.detach().square() + beta**2).sqrt()
    u, v = (root + p.detach()) / 2, (root - p.detach()) / 2
    optimizer = EGD([p], lr=0.1, spread=beta)
    for _ in range(20):
        p.grad = torch.randn(6).double()
        u, v = u * torch.exp(-0.1 * p.grad), v * torch.exp(0.1 * p.grad)
        optimizer.step()
        torch.testing.assert_close(p.detach(), u - v, atol=1e-12, rtol=0)


def test_a_spike_is_clipped() -> None:
    p = nn.Parameter(torch.ones(1))
    p.grad = torch.tensor([-1e30])
    EGD([p], lr=1.0, signed=False, clip=2.0).step()
    assert p.item() == pytest.approx(np.exp(2.0))


def test_refusals() -> None:
    zero = nn.Parameter(torch.tensor([[1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"strictly positive .* \(1, 2\) has an entry 0"):
        EGD([zero], signed=False)
    with pytest.raises(ValueError, match="set signed=false"):
        EGD([zero], normalize=True)
    with pytest.raises(ValueError, match="spread=0 must be above 0"):
        EGD([zero], spread=0)
    with pytest.raises(ValueError, match="EGD takes real numbers"):
        EGD([nn.Parameter(torch.ones(1, dtype=torch.complex64))])
