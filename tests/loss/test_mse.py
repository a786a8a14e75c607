import pytest
import torch
import torch.nn.functional as F

from suexp.loss import MSE


def test_is_torchs() -> None:
    f, y = torch.randn(2, 7)
    torch.testing.assert_close(MSE()(f, y), F.mse_loss(f, y))


def test_half_precision_is_summed_in_full() -> None:
    f = torch.full((1000,), 1.25, dtype=torch.bfloat16)
    loss = MSE()(f, torch.full((1000,), 1.0, dtype=torch.bfloat16))
    assert loss.dtype == torch.float32
    assert loss.item() == 0.0625
    assert MSE()(f.double(), f.double()).dtype == torch.float64


def test_shapes_that_would_spread_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predictions have shape \(3, 1\), targets \(3,\)"):
        MSE()(torch.zeros(3, 1), torch.zeros(3))
