import pytest
import torch
from torch import nn

from suexp.init import Xavier
from suexp.nn.linear import FusedLinear, ResidualLinear


def test_variance_is_that_of_torch() -> None:
    torch.manual_seed(0)
    layer, peer = nn.Linear(500, 1000), torch.empty(1000, 500)
    Xavier().apply(layer)
    nn.init.xavier_normal_(peer)
    assert layer.weight.std().item() == pytest.approx((2 / 1500) ** 0.5, rel=0.01)
    assert layer.weight.std().item() == pytest.approx(peer.std().item(), rel=0.01)


def test_gain() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(500, 1000)
    Xavier(gain=3.0).apply(layer)
    assert layer.weight.std().item() == pytest.approx(3 * (2 / 1500) ** 0.5, rel=0.01)


def test_fused_blocks_count_as_layers_of_their_own() -> None:
    torch.manual_seed(0)
    layer = FusedLinear(400, [400, 400, 400])
    Xavier().apply(layer)
    assert layer.weight.std().item() == pytest.approx(400**-0.5, rel=0.01)


def test_residual_ends_are_layers_like_others() -> None:
    torch.manual_seed(0)
    layer = ResidualLinear(400, 400)
    Xavier().apply(nn.Sequential(layer, ResidualLinear(4, 4)))
    assert layer.weight.std().item() == pytest.approx(400**-0.5, rel=0.01)
