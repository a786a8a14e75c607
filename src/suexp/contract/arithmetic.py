"""What every arithmetic keeps (see `suexp.arithmetic.base.Arithmetic`)."""

import copy

import torch
import torch.nn.functional as F

from suexp.arithmetic.base import Arithmetic
from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, equal, expect, of_class, same
from suexp.init.default import Default
from suexp.model.mlp import MLP
from suexp.nn.linear import Linear

BASE = "suexp.arithmetic.base.Arithmetic"


def mlp() -> MLP:
    """Return a small network that multiplies."""
    torch.manual_seed(0)
    return MLP(8, 3, Default(), None, dim=16, num_layers=1)


@vital
def derives_from_arithmetic(subject: Subject) -> None:
    """Its class is one."""
    of_class(subject, Arithmetic)


@vital
def a_layer_is_near_the_exact_one(subject: Subject) -> None:
    """No product is off by more than a ninth, whatever the input's shape."""
    for shape in ((5, 8), (2, 3, 8), (8,), (0, 8)):
        layer, x = Linear(8, 4), torch.randn(shape)
        exact = layer(x)
        layer.product = subject.build().linear
        expect(layer(x).shape == exact.shape, f"an input {shape} gives {tuple(layer(x).shape)}")
        products = F.linear(x.abs(), layer.weight.abs())
        near = ((layer(x) - exact).abs() <= products / 9 + 1e-5).all()
        expect(near, "a layer is off by more than a ninth of the products' sizes")


@vital
def gradients_are_sums_of_the_same_products(subject: Subject) -> None:
    """By the chain rule of exact products, in every type."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        rule = subject.build()
        x, w = torch.randn(6, 5, dtype=dtype), torch.randn(4, 5, dtype=dtype)
        g = torch.randn(6, 4, dtype=dtype)
        x.requires_grad_(), w.requires_grad_()
        y = rule.linear(x, w)
        expect(y.dtype == dtype, f"{dtype} becomes {y.dtype}")
        y.backward(g)
        sums = rule.sums if rule.backward == "same" else F.linear
        same(x.grad, sums(g, w.detach().T), f"{dtype}: the input's gradient")
        same(w.grad, sums(g.T, x.detach().T), f"{dtype}: the weight's gradient")


@check
def autocast_multiplies_in_its_own_type(subject: Subject) -> None:
    """And the weight's gradient keeps the weight's."""
    layer, x = Linear(8, 4), torch.randn(3, 8)
    layer.product = subject.build().linear
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    expect(y.dtype == torch.bfloat16, f"under autocast to bfloat16 it gives {y.dtype}")
    y.float().sum().backward()
    grad = layer.weight.grad
    expect(grad is not None and grad.dtype == torch.float32, "the weight's gradient, its type")


@vital
def a_network_keeps_its_state_and_can_be_copied(subject: Subject) -> None:
    """The rule stands beside the weights."""
    model, x = mlp(), torch.randn(4, 8)
    keys = model.state_dict().keys()
    subject.build().attach(model)
    expect(model.state_dict().keys() == keys, "it changes the keys of the network's state")
    equal(copy.deepcopy(model)(x), model(x), "a copy of the network computes something else")
