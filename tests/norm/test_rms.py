import pytest
import torch

from suexp.norm import RMS


def test_equals_the_formula() -> None:
    torch.manual_seed(0)
    norm = RMS(6, eps=1e-3)
    torch.nn.init.normal_(norm.weight)
    x = 3 + 2 * torch.randn(4, 5, 6)
    expected = norm.weight * x / ((x * x).mean(-1, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(norm(x), expected)


def test_output_has_unit_mean_square_and_keeps_direction() -> None:
    x = 100 * torch.randn(3, 64)
    y = RMS(64)(x)
    torch.testing.assert_close((y * y).mean(-1), torch.ones(3))
    torch.testing.assert_close(torch.cosine_similarity(x, y, dim=-1), torch.ones(3))


def test_has_a_gain_only() -> None:
    assert [name for name, _ in RMS(4).named_parameters()] == ["weight"]


def test_refuses_an_empty_axis() -> None:
    with pytest.raises(ValueError, match="dim must be at least 1, not 0"):
        RMS(0)


def test_takes_bfloat16_under_autocast() -> None:
    x = torch.randn(3, 64)
    with torch.autocast("cpu", torch.bfloat16):
        y = RMS(64)(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), RMS(64)(x), atol=0.02, rtol=0.02)
