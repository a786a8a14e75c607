"""What every arithmetic does in a network: forward, backward, in halves, and again."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suexp.arithmetic import Mitchell
from suexp.config.compose import resolve
from suexp.contract.arithmetic import mlp
from suexp.contract.check import Check, checks
from suexp.contract.subject import Subject
from suexp.errors import UserError
from suexp.model.resnet import ResNet
from suexp.nn.conv import Conv2d
from suexp.nn.flops import ByFormula
from suexp.nn.linear import Linear, exact_products
from tests.support.options import content, options


def subject(option: str) -> Subject:
    return Subject(f"arithmetic={option}", "arithmetic", content("arithmetic", option))


@pytest.mark.parametrize("check", checks("arithmetic"), ids=str)
@pytest.mark.parametrize("option", options("arithmetic"))
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(subject(option))


def test_exact_gradients_are_those_of_torchs_layer() -> None:
    ours, theirs, x = Linear(5, 4), Linear(5, 4), torch.randn(6, 5)
    theirs.load_state_dict(ours.state_dict())
    ours.product = Mitchell(backward="exact").linear
    for layer in (ours, theirs):
        layer(x).backward(torch.ones(6, 4))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


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
