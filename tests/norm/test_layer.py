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


def test_a_scaled_epsilon_is_part_of_the_state() -> None:
    norm, other = Layer(4, eps=1e-3), Layer(4, eps=1e-3)
    assert set(norm.state_dict()) == {"weight", "bias"}
    norm.scale_eps(0.25)
    assert (norm.eps, norm.given_eps) == (2.5e-4, 1e-3)
    other.load_state_dict(norm.state_dict())
    x = 0.01 * torch.randn(3, 4)
    assert torch.equal(other(x), norm(x))
    other.load_state_dict(Layer(4).state_dict())
    assert other.eps == 1e-3
    torch.testing.assert_close(norm(x / 2), Layer(4, eps=1e-3)(x), atol=1e-5, rtol=1e-4)
