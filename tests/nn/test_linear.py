"""One place where models multiply by matrices, in two parametrisations."""

import ast
import copy
import inspect
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import suexp
from suexp.init import Default, He, Orthogonal, Xavier
from suexp.init.base import Init
from suexp.model.mlp import MLP
from suexp.nn.flops import ByFormula, counted
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


# What options are held to, and the layer that takes the place of torch's own: no part of a model.
APART = {"contract", "multihead_attention.py"}


def test_no_model_multiplies_elsewhere() -> None:
    elsewhere = ("nn.Linear", "F.linear", "torch.nn.functional.linear", "torch.nn.Linear")
    assert [
        f"{path}:{node.lineno}"
        for path in Path(suexp.__path__[0]).rglob("*.py")
        if not APART & {*path.parts}
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in elsewhere
    ] == []


INITS = {"default": Default, "he": He, "xavier": Xavier, "orthogonal": Orthogonal}


@pytest.mark.parametrize("name", INITS)
def test_both_parametrisations_begin_as_one_function(name: str) -> None:
    models = [build(resolved(CHOICES, init={"parametrization": "standard"}))]
    for parametrization in ("standard", "ntk"):
        torch.manual_seed(1)
        init = {"gain": 1.3, "parametrization": parametrization}
        models.append(build(resolved(CHOICES | {"init": name}, init=init), seed=1))
    torch.testing.assert_close(models[1](tokens()), models[2](tokens()), atol=1e-5, rtol=1e-5)
    assert models[1].state_dict().keys() == models[2].state_dict().keys()
    for module in models[2].modules():
        if isinstance(module, Linear):
            size = module.weight.square().mean().sqrt().item()
            assert size == pytest.approx(1, rel=0.15), module
            assert len(module.scales) == len(module.blocks)


def perceptrons(init: str) -> list[MLP]:
    made = []
    for parametrization in ("standard", "ntk"):
        torch.manual_seed(0)
        rule = INITS[init](parametrization=parametrization)
        made.append(MLP(6, 3, rule, dim=16, activation="tanh").double())
    return made


@pytest.mark.parametrize("init", INITS)
def test_sgd_moves_both_alike_when_the_rate_of_the_usual_form_is_scaled(init: str) -> None:
    """Rate eta on raw weights is eta c^2 on the usual ones; biases have one rate in both."""
    usual, raw = perceptrons(init)
    x, label = torch.randn(20, 6, dtype=torch.float64), torch.randint(3, (20,))
    for _ in range(3):
        for model in (usual, raw):
            model.zero_grad()
            F.cross_entropy(model(x), label).backward()
        with torch.no_grad():
            pairs = zip(usual.modules(), raw.modules(), strict=True)
            for a, b in ((a, b) for a, b in pairs if isinstance(b, Linear)):
                a.weight -= 0.1 * b.scales[0] ** 2 * a.weight.grad
                b.weight -= 0.1 * b.weight.grad
                a.bias -= 0.1 * a.bias.grad
                b.bias -= 0.1 * b.bias.grad
        torch.testing.assert_close(usual(x), raw(x), atol=1e-6, rtol=1e-6)


def test_adam_moves_raw_weights_as_a_rate_of_c() -> None:
    usual, raw = perceptrons("he")
    x, label = torch.randn(20, 6, dtype=torch.float64), torch.randint(3, (20,))
    scale = {n: m.scales[0] for n, m in raw.named_modules() if isinstance(m, Linear)}
    groups = [
        {"params": [p], "lr": 0.01 * (scale[n[:-7]] if n.endswith("weight") else 1)}
        for n, p in usual.named_parameters()
    ]
    optimizers = (torch.optim.Adam(groups, eps=0), torch.optim.Adam(raw.parameters(), 0.01, eps=0))
    for _ in range(3):
        for model, optimizer in zip((usual, raw), optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), label).backward()
            optimizer.step()
    torch.testing.assert_close(usual(x), raw(x), atol=1e-6, rtol=1e-6)


def test_products_count_in_both() -> None:
    found = []
    for parametrization in ("standard", "ntk"):
        model = build(resolved(CHOICES, init={"parametrization": parametrization}))
        with counted() as counter, ByFormula(model) as formula:
            model(tokens())
        found.append((counter.get_total_flops(), formula.flops))
    assert found[0] == found[1]


def test_a_layer_of_others_is_refused() -> None:
    with pytest.raises(ValueError, match=r"init\.parametrization=ntk: Linear multiplies by its"):
        Default(parametrization="ntk").apply(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="parametrization must be standard or ntk, not mup"):
        inspect.unwrap(Init.__init__)(Init.__new__(Init), 1.0, None, "mup")
