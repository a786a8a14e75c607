import math

import pytest
import torch
from torch import nn

from suexp.job.cost import state_bytes
from suexp.optimizer import EGDMeta
from tests.optimizer.micro import digits_like, step, trajectory


def test_the_gradient_by_the_gain_is_the_product_of_neighbours() -> None:
    torch.manual_seed(0)
    theta, slope, eta = torch.randn(5).double(), torch.randn(5).double(), 0.1
    target = torch.randn(5).double()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ((x - target) ** 4).sum()

    gain = torch.rand(5).double().requires_grad_()
    moved = theta - eta * gain * slope
    (found,) = torch.autograd.grad(loss(moved), gain)
    g = 4 * (moved.detach() - target) ** 3
    torch.testing.assert_close(found, -eta * slope * g, atol=1e-10, rtol=1e-12)


def test_the_gain_is_an_exponential_of_the_sum_of_products() -> None:
    torch.manual_seed(0)
    p = nn.Parameter(torch.zeros(7).double())
    optimizer = EGDMeta([p], gamma=0.05, use_sign=False, min_gain=0.0, max_gain=math.inf)
    gradients = torch.randn(30, 7).double()
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
    expected = torch.exp(0.05 * (gradients[1:] * gradients[:-1]).sum(0))
    torch.testing.assert_close(optimizer.state[p]["gain"], expected, atol=1e-12, rtol=1e-12)
    assert state_bytes(optimizer) == 2 * 8 * 7


def test_without_a_meta_rate_it_is_plain_sgd() -> None:
    one, other = digits_like(), digits_like()
    ours = EGDMeta(one.parameters(), lr=0.1, gamma=0.0)
    plain = torch.optim.SGD(other.parameters(), lr=0.1)
    for _ in range(20):
        x, y = torch.randn(8, 6).double(), torch.randint(3, (8,))
        step(one, ours, x, y)
        step(other, plain, x, y)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-14, rtol=0)


def test_signs_do_not_see_the_loss_s_scale_and_the_product_does() -> None:
    torch.testing.assert_close(
        trajectory(EGDMeta, 1), trajectory(EGDMeta, 1000), atol=1e-10, rtol=0
    )
    product = {"gamma": 1.0, "use_sign": False}
    assert (
        trajectory(EGDMeta, 1, **product) - trajectory(EGDMeta, 1000, **product)
    ).abs().max() > 1e-2


def test_a_spike_moves_a_gain_by_e_at_most_and_gains_stay_between_bounds() -> None:
    p = nn.Parameter(torch.zeros(2))
    optimizer = EGDMeta([p], lr=1e-9, gamma=1.0, use_sign=False, max_gain=5.0, min_gain=0.5)
    for expected in ([1.0, 1.0], [math.e, 1 / math.e], [5.0, 0.5]):
        p.grad = torch.tensor([1e20, 1e20 if optimizer.state[p] == {} else 0.0])
        if expected[1] != 1.0:
            p.grad[1] = -1e20 * optimizer.state[p]["previous"][1].sign()
        optimizer.step()
        expected[1] = max(expected[1], 0.5)
        torch.testing.assert_close(optimizer.state[p]["gain"], torch.tensor(expected))


def test_diagnostics() -> None:
    p = nn.Parameter(torch.zeros(4))
    optimizer = EGDMeta([p], gamma=0.5)
    for signs in ([1.0, 1, 1, 1], [1.0, 1, -1, -1]):
        p.grad = torch.tensor(signs)
        optimizer.step()
    found = optimizer.diagnostics()
    up, down = math.exp(0.5), math.exp(-0.5)
    assert found["gain_mean"] == pytest.approx((up + down) / 2)
    assert (found["gain_p05"], found["gain_p95"]) == pytest.approx((down, up))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": -1}, "gamma=-1 must not be negative"),
        ({"max_exponent": 0}, "max_exponent=0 must be above 0"),
        ({"min_gain": 2}, "1 must lie between them"),
    ],
)
def test_refusals(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EGDMeta([nn.Parameter(torch.ones(2))], **settings)
