import pytest
import torch

from suexp.norm import Layer


def test_equals_the_formula() -> None:
    torch.manual_seed(0)
    norm = Layer(6, eps=1e-3)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = 3 + 2 * torch.randn(4, 5, 6)
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).sum(-1, keepdim=True) / 6
    expected = norm.weight * (x - mean) / (variance + 1e-3).sqrt() + norm.bias
    torch.testing.assert_close(norm(x), expected)


def test_ignores_shift_and_scale_of_its_input() -> None:
    x = torch.randn(3, 64)
    norm = Layer(64)
    torch.testing.assert_close(norm(5 * x + 7), norm(x), atol=1e-4, rtol=1e-4)


def test_bias_is_optional() -> None:
    assert [name for name, _ in Layer(4, bias=False).named_parameters()] == ["weight"]


def test_refuses_an_empty_axis() -> None:
    with pytest.raises(ValueError, match="dim must be at least 1, not 0"):
        Layer(0)
