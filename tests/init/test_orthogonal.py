import pytest
import torch
from torch import nn

from suexp.init import Orthogonal
from suexp.nn.linear import FusedLinear


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_tall_and_wide_matrices(gain: float) -> None:
    torch.manual_seed(0)
    tall, wide = nn.Linear(30, 50), nn.Linear(50, 30)
    Orthogonal(gain).apply(nn.Sequential(tall, wide))
    identity = gain**2 * torch.eye(30)
    torch.testing.assert_close(tall.weight.mT @ tall.weight, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(wide.weight @ wide.weight.mT, identity, atol=1e-5, rtol=0)


def test_each_fused_block_is_orthogonal() -> None:
    torch.manual_seed(0)
    layer = FusedLinear(20, [20, 20, 20])
    Orthogonal().apply(layer)
    for block in layer.weight.chunk(3):
        torch.testing.assert_close(block @ block.mT, torch.eye(20), atol=1e-5, rtol=0)


def test_both_orientations_occur() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    signs = set()
    for _ in range(20):
        Orthogonal().apply(layer)
        signs.add(round(torch.linalg.det(layer.weight).item()))
    assert signs == {-1, 1}
