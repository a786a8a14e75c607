import pytest
import torch
from torch import nn

from suexp.norm import Batch


def test_equals_torchs_over_all_leading_axes() -> None:
    ours, torchs = Batch(6), nn.BatchNorm1d(6)
    x = 3 + 2 * torch.randn(4, 5, 6)
    expected = torchs(x.flatten(0, 1)).view_as(x)
    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict())
    ours.eval()
    torchs.eval()
    torch.testing.assert_close(ours(x), torchs(x.flatten(0, 1)).view_as(x))


def test_gives_back_the_type_of_its_input() -> None:
    x = torch.randn(8, 6)
    assert Batch(6)(x.bfloat16()).dtype == torch.bfloat16
    assert Batch(6).double()(x.double()).dtype == torch.float64


def test_refuses_what_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than one row in training; use norm=layer"):
        Batch(6)(torch.randn(1, 6))
    assert Batch(6).eval()(torch.randn(1, 6)).shape == (1, 6)
    with pytest.raises(ValueError, match="dim must be at least 1, not 0"):
        Batch(0)
