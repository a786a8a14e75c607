import pytest
import torch
from torch import nn

from suexp.init import He


def test_variance_is_that_of_torch() -> None:
    torch.manual_seed(0)
    layer, peer = nn.Linear(500, 1000), torch.empty(1000, 500)
    He().apply(layer)
    nn.init.kaiming_normal_(peer, nonlinearity="relu")
    assert layer.weight.std().item() == pytest.approx((2 / 500) ** 0.5, rel=0.01)
    assert layer.weight.std().item() == pytest.approx(peer.std().item(), rel=0.01)


def test_keeps_the_second_moment_through_relu() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*[nn.Linear(512, 512) for _ in range(10)])
    He().apply(layers)
    x = torch.randn(64, 512)
    for layer in layers:
        x = layer(x).relu()
    assert 0.3 < x.square().mean().item() < 3  # a variance of 1 / fan_in would leave 0.001


def test_gain() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(500, 1000)
    He(gain=0.5).apply(layer)
    assert layer.weight.std().item() == pytest.approx(0.5 * (2 / 500) ** 0.5, rel=0.01)
