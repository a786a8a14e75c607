import inspect
import math

import pytest
import torch
from torch import Tensor

from suexp.nn.feed_forward import FeedForward


def erf_gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize(
    ("kind", "activation"), [("gelu", erf_gelu), ("gelu_tanh", tanh_gelu), ("relu", torch.relu)]
)
def test_plain_kinds_equal_the_formula(kind: str, activation) -> None:
    layer, x = FeedForward(6, 24, kind, bias=True), torch.randn(2, 3, 6)
    hidden = activation(x @ layer.input.weight.T + layer.input.bias)
    assert layer.input.out_features == 24
    torch.testing.assert_close(layer(x), hidden @ layer.output.weight.T + layer.output.bias)


def test_swiglu_equals_the_formula() -> None:
    layer, x = FeedForward(6, 24, "swiglu"), torch.randn(3, 6)
    gate, value = (x @ block.T for block in layer.input.weight.chunk(2))
    hidden = gate * torch.sigmoid(gate) * value
    torch.testing.assert_close(layer(x), hidden @ layer.output.weight.T)


@pytest.mark.parametrize("dim", [48, 64, 128, 192, 768])
def test_swiglu_has_as_many_parameters(dim: int) -> None:
    def count(kind: str) -> int:
        return sum(p.numel() for p in FeedForward(dim, 4 * dim, kind).parameters())

    assert abs(count("swiglu") - count("gelu")) <= 12 * dim
    assert FeedForward(dim, 4 * dim, "swiglu").output.in_features % 8 == 0


def test_dropout_acts_on_the_output_in_training_only() -> None:
    layer, x = FeedForward(6, 24, dropout=0.5), torch.randn(100, 6)
    assert 0.3 < (layer(x) == 0).float().mean() < 0.7
    assert (layer.eval()(x) != 0).all()


def test_refuses_unknown_kinds_and_empty_sizes() -> None:
    with pytest.raises(ValueError, match="ffn must be one of gelu, gelu_tanh, relu, swiglu, not x"):
        inspect.unwrap(FeedForward.__init__)(FeedForward.__new__(FeedForward), 6, 24, "x")
    with pytest.raises(ValueError, match="dim must be at least 1, not 0"):
        FeedForward(0, 24)
