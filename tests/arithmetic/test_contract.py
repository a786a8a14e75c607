"""What every arithmetic does in a network: forward, backward, in halves, and again."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suexp.arithmetic import Mitchell
from suexp.arithmetic.base import Arithmetic
from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.folders import conf_dir
from suexp.init import Default
from suexp.model.mlp import MLP
from suexp.model.resnet import ResNet
from suexp.nn.conv import Conv2d
from suexp.nn.flops import ByFormula
from suexp.nn.linear import Linear, exact_products

OPTIONS = sorted(path.stem for path in (conf_dir() / "arithmetic").glob("*.yaml"))


def option(name: str) -> Arithmetic:
    net = ["task=classification", "data=digits", "model=mlp"]
    found: Arithmetic = instantiate(resolve([f"arithmetic={name}", *net]).config["arithmetic"])
    return found


def mlp() -> MLP:
    torch.manual_seed(0)
    return MLP(8, 3, Default(), None, dim=16, num_layers=1)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (8,), (0, 8)])
def test_a_layer_is_near_the_exact_one(name: str, shape: tuple[int, ...]) -> None:
    layer, x = Linear(8, 4), torch.randn(shape)
    exact = layer(x)
    layer.product = option(name).linear
    assert layer(x).shape == exact.shape
    products = F.linear(x.abs(), layer.weight.abs())
    assert ((layer(x) - exact).abs() <= products / 9 + 1e-5).all()


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_are_sums_of_the_same_products(name: str, dtype: torch.dtype) -> None:
    rule = option(name)
    x, w = torch.randn(6, 5, dtype=dtype), torch.randn(4, 5, dtype=dtype)
    g = torch.randn(6, 4, dtype=dtype)
    x.requires_grad_(), w.requires_grad_()
    y = rule.linear(x, w)
    assert y.dtype == dtype
    y.backward(g)
    torch.testing.assert_close(x.grad, rule.sums(g, w.detach().T))
    torch.testing.assert_close(w.grad, rule.sums(g.T, x.detach().T))


def test_exact_gradients_are_those_of_torchs_layer() -> None:
    ours, theirs, x = Linear(5, 4), Linear(5, 4), torch.randn(6, 5)
    theirs.load_state_dict(ours.state_dict())
    ours.product = Mitchell(backward="exact").linear
    for layer in (ours, theirs):
        layer(x).backward(torch.ones(6, 4))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("name", OPTIONS)
def test_autocast_multiplies_in_its_own_type(name: str) -> None:
    layer, x = Linear(8, 4), torch.randn(3, 8)
    layer.product = option(name).linear
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("name", OPTIONS)
def test_a_network_keeps_its_state_and_can_be_copied(name: str) -> None:
    model, x = mlp(), torch.randn(4, 8)
    keys = model.state_dict().keys()
    option(name).attach(model)
    assert model.state_dict().keys() == keys
    assert torch.equal(copy.deepcopy(model)(x), model(x))


def test_a_convolution_is_the_product_of_its_neighbourhoods() -> None:
    for settings in ({}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": (2, 0)}):
        layer = Conv2d(3, 4, (3, 2), **settings)  # type: ignore[arg-type]
        theirs = nn.Conv2d(3, 4, (3, 2), **settings)  # type: ignore[arg-type]
        theirs.load_state_dict(layer.state_dict())
        x = torch.randn(2, 3, 9, 7)
        assert torch.equal(layer(x), theirs(x))
        layer.product = lambda x, w, b: F.linear(x, w, b)
        torch.testing.assert_close(layer(x), theirs(x))


@pytest.mark.parametrize("settings", [{"groups": 2}, {"padding": "same"}])
def test_other_convolutions_multiply_exactly_only(settings: dict[str, object]) -> None:
    layer = Conv2d(2, 2, 3, **settings)  # type: ignore[arg-type]
    layer.product = Mitchell().linear
    with pytest.raises(ValueError, match="multiplies exactly only"):
        layer(torch.randn(1, 2, 5, 5))


def test_every_product_of_a_convolutional_network_is_mitchells() -> None:
    model, x = ResNet(64, 10, [1], width=4), torch.randn(2, 64)
    model.eval()
    exact = model(x)
    Mitchell().attach(model)
    assert not torch.equal(model(x), exact)
    with exact_products(model):
        assert torch.equal(model(x), exact)
    assert not torch.equal(model(x), exact)


def test_products_count_as_exact_ones() -> None:
    model, x = mlp(), torch.randn(4, 8)
    Mitchell().attach(model)
    with exact_products(model), ByFormula(model) as formula:
        model(x)
    assert formula.flops == {"linear": 2 * 4 * (8 * 16 + 16 * 3)}


def test_a_network_without_products_is_refused() -> None:
    with pytest.raises(ValueError, match="multiplies by no matrix; use model=mlp"):
        Mitchell().attach(nn.Identity())


def test_double_backward_is_refused_when_composed() -> None:
    net = ["task=classification", "data=digits", "model=mlp", "arithmetic=mitchell"]
    with pytest.raises(UserError, match="arithmetic=mitchell cannot be combined with method=grad"):
        resolve([*net, "method=gradient_penalty"])
