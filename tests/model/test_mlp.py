import inspect

import pytest
import torch
from torch import Tensor, nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.init import He
from suexp.model import MLP
from suexp.nn.linear import Linear
from suexp.norm import Batch, Layer


def build(**changes) -> MLP:
    torch.manual_seed(0)
    return MLP(**({"input_dim": 5, "num_outputs": 3, "init": He(), "dim": 8} | changes))


ACTIVATIONS = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x * torch.sigmoid(x),
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_equals_the_formula(activation: str) -> None:
    model, x = build(activation=activation), torch.randn(4, 5)
    h: Tensor = x
    for layer in [m for m in model.hidden if isinstance(m, nn.Linear)]:
        h = ACTIVATIONS[activation](h @ layer.weight.T + layer.bias)
    torch.testing.assert_close(model(x), h @ model.classifier.weight.T + model.classifier.bias)


def test_norms_are_clones_before_the_activation() -> None:
    model = build(norm=Layer(8), num_layers=3)
    kinds = [type(m) for m in model.hidden]
    assert kinds == [Linear, Layer, nn.ReLU, nn.Dropout] * 3
    assert len({id(m) for m in model.hidden if isinstance(m, Layer)}) == 3


def test_norms_may_stand_in_front_of_each_linear_layer() -> None:
    torch.manual_seed(0)
    made = build(input_dim=6, norm=Batch(8, affine=False), norm_position="pre_linear")
    norms = [layer for layer in made.hidden if isinstance(layer, Batch)]
    assert [norm.num_features for norm in norms] == [6, 8, 8]
    linear = [layer for layer in made.hidden if isinstance(layer, nn.Linear)]

    def norm(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()

    x = torch.randn(20, 6)
    h = linear[1](norm(linear[0](norm(x)).relu())).relu()
    torch.testing.assert_close(made(x), made.classifier(norm(h)))


def test_no_hidden_layers_is_a_linear_model() -> None:
    model, x = build(num_layers=0), torch.randn(4, 5)
    torch.testing.assert_close(model(x), model.classifier(x))


def test_takes_bfloat16_autocast() -> None:
    for norm in (None, Layer(8)):
        with torch.autocast("cpu", torch.bfloat16):
            build(norm=norm)(torch.randn(4, 5)).sum().backward()


def test_weights_are_drawn() -> None:
    model = build(dim=400, num_layers=2)
    weight = model.hidden[3].weight
    assert weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"dim": 0}, "dim must be at least 1, not 0"),
        ({"num_layers": -1}, "num_layers must be at least 0, not -1"),
        ({"activation": "swish"}, "activation must be one of relu, gelu"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict, line: str) -> None:
    arguments = {"input_dim": 5, "num_outputs": 3, "init": He()} | changes
    with pytest.raises(ValueError, match=line):
        inspect.unwrap(MLP.__init__)(MLP.__new__(MLP), **arguments)


VECTORS = ["model=mlp", "task=classification", "data=digits"]


def test_its_config_drops_what_it_has_not() -> None:
    run = resolve(VECTORS)
    assert "attention" not in run.config
    assert "position" not in run.config
    assert run.config["model"]["norm"]["dim"] == run.config["model"]["dim"]


@pytest.mark.parametrize("choice", ["attention=softmax", "mask=causal", "mask=window"])
def test_refuses_what_it_has_not(choice: str) -> None:
    with pytest.raises(UserError, match=f"model=mlp cannot be combined with {choice}: it takes no"):
        resolve([*VECTORS, choice])
