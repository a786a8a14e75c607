import inspect

import pytest
import torch
from torch import nn

from suexp.method.wgan_gp import WganGP
from tests.method.critics import critic, points, task


def linear(weight: list[float]) -> nn.Module:
    layer = nn.Linear(len(weight), 1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight]))
    return nn.Sequential(layer, nn.Flatten(0))


def test_linear_critic_by_hand() -> None:
    network, x = linear([3.0, 4.0]), points(6, 2)  # a gradient of norm 5 everywhere
    real, fake = x[:3], x[3:]
    for where in ("interpolate", "real", "fake"):
        method = WganGP(points=where)  # type: ignore[arg-type]
        assert method.penalty(network, real, fake).item() == pytest.approx(16)
    assert WganGP(target=0.0).penalty(network, real, fake).item() == pytest.approx(25)
    small = linear([0.3, 0.4])
    assert WganGP().penalty(small, real, fake).item() == pytest.approx(0.25)
    assert WganGP(one_sided=True).penalty(small, real, fake).item() == 0
    assert WganGP(one_sided=True).penalty(network, real, fake).item() == pytest.approx(16)


def test_its_gradient_by_hand() -> None:
    network, x = linear([3.0, 4.0]), points(6, 2)
    WganGP().penalty(network, x[:3], x[3:]).backward()
    # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w| = 8 (0.6, 0.8)
    expected = torch.tensor([[4.8, 6.4]], dtype=torch.float64)
    torch.testing.assert_close(network[0].weight.grad, expected)


def test_points_lie_between() -> None:
    seen: list[torch.Tensor] = []
    network = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)).double()
    network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    real, fake = points()[:32], points()[32:]
    WganGP().penalty(network, real, fake)
    share = (seen[0] - fake) / (real - fake)
    torch.testing.assert_close(share, share[:, :1].expand(-1, 4))
    assert 0 <= share.min() < 0.2 < 0.8 < share.max() <= 1


def test_is_added_with_its_weight() -> None:
    network, x = critic(), points()
    owner = task(network)
    batch = {"x": x[:32], "fake": x[32:]}
    torch.manual_seed(3)
    loss = WganGP(weight=2.0).objective(owner, batch, lambda _: torch.tensor(7.0))
    torch.manual_seed(3)
    penalty = WganGP().penalty(network, batch["x"], batch["fake"])
    torch.testing.assert_close(loss, 7 + 2 * penalty)


def test_autocast_is_off_inside() -> None:
    network, x = critic().float(), points().float()
    with torch.autocast("cpu", torch.bfloat16):
        penalty = WganGP(points="real").penalty(network, x[:32], x[32:])
    torch.testing.assert_close(
        penalty, WganGP(points="real").penalty(network, x[:32], x[32:]), rtol=1e-5, atol=1e-6
    )


def test_refusals() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    with pytest.raises(ValueError, match="need a critic without BatchNorm"):
        WganGP().attach(task(network))
    for settings in ({"weight": -1.0}, {"target": -1.0}, {"points": "middle"}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            inspect.unwrap(WganGP.__init__)(WganGP.__new__(WganGP), **settings)  # type: ignore[arg-type]
