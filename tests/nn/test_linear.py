"""One place where models multiply by matrices, in two parametrisations."""

import ast
import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import suexp
from suexp.nn.linear import FusedLinear, Linear, Multiplies, ResidualLinear
from tests.contracts.test_model import build, resolved, tokens

CHOICES = {"attention": "softmax", "position": "rope", "mask": "causal"}


def test_blocks_are_maps_of_one_input() -> None:
    layer, x = FusedLinear(3, [4, 4], bias=False), torch.randn(5, 3)
    first, second = layer.weight.chunk(2)
    torch.testing.assert_close(layer(x), torch.cat((x @ first.T, x @ second.T), -1))


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 0.5, 0.5), (0.5, 2.0, 3.0)])
@pytest.mark.parametrize("bias", [True, False])
def test_some_blocks_are_parts_of_the_whole(scales: tuple[float, ...], bias: bool) -> None:
    layer, x = FusedLinear(3, [4, 2, 5], bias), torch.randn(6, 3)
    layer.scales = scales
    whole = layer(x)
    parts = [layer.some(x, end=1), layer.some(x, 1, 2), layer.some(x, 2)]
    torch.testing.assert_close(torch.cat(parts, -1), whole)
    torch.testing.assert_close(layer.some(x, 1), whole[:, 4:])
    c = torch.tensor(scales).expand(3) if len(scales) == 1 else torch.tensor(scales)
    rows = c.repeat_interleave(torch.tensor([4, 2, 5]))
    torch.testing.assert_close(whole, F.linear(x, layer.weight * rows[:, None], layer.bias))


def test_without_a_scale_it_is_torchs_layer() -> None:
    torch.manual_seed(0)
    ours, x = Linear(5, 7), torch.randn(3, 5)
    torch.manual_seed(0)
    theirs = nn.Linear(5, 7)
    assert torch.equal(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("layer", [Linear(8, 8), FusedLinear(8, [4, 4]), ResidualLinear(8, 8)])
def test_half_precision_stays_half(layer: Linear) -> None:
    layer.scales = tuple([0.5] * len(layer.blocks))
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(torch.randn(2, 8))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.bias.grad.isfinite().all()


class Counting:
    """Another arithmetic: the usual one, and how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> torch.Tensor:
        self.calls += 1
        return F.linear(x, w, b)


def test_another_arithmetic_does_every_product() -> None:
    model = build(resolved(CHOICES))
    expected = model(tokens())
    product = Counting()
    for module in model.modules():
        if isinstance(module, Multiplies):
            module.product = product
    assert torch.equal(model(tokens()), expected)
    assert product.calls == 2 * 4 + 1  # qkv, output, two of the feed-forward layer; the words
    assert torch.equal(copy.deepcopy(model)(tokens()), expected)


def test_no_model_multiplies_elsewhere() -> None:
    elsewhere = ("nn.Linear", "F.linear", "torch.nn.functional.linear")
    assert [
        f"{path}:{node.lineno}"
        for path in Path(suexp.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in elsewhere
    ] == []
