import inspect

import pytest
import torch
from torch import nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.init import Default
from suexp.model.gan_mlp import GanMLP
from suexp.nn.linear import Linear


def build(**changes: object) -> GanMLP:
    return GanMLP(**({"input_dim": 5, "init": Default(), "dim": 16, "latent_dim": 3} | changes))  # type: ignore[arg-type]


def test_shapes() -> None:
    model = build()
    points = model.generator(torch.randn(4, 3))
    assert points.shape == (4, 5)
    assert model.critic(points).shape == (4,)
    assert model(torch.randn(4, 3)).shape == (4,)


def test_layers_and_activations() -> None:
    model = build(num_layers=2, negative_slope=0.3, output="tanh")
    kinds = [type(m) for m in model.critic.layers]
    assert kinds == [Linear, nn.LeakyReLU, Linear, nn.LeakyReLU, Linear]
    assert model.critic.layers[1].negative_slope == 0.3
    assert isinstance(model.generator.layers[-1], nn.Tanh)
    assert model.generator(100 * torch.randn(50, 3)).abs().max() <= 1


def test_without_biases_the_critic_is_positively_homogeneous() -> None:
    model, x = build(bias=False).double(), torch.randn(6, 5, dtype=torch.float64)
    assert all(module.bias is None for module in model.critic.modules() if hasattr(module, "bias"))
    torch.testing.assert_close(model.critic(2.5 * x), 2.5 * model.critic(x))
    assert model.generator.layers[0].bias is not None


def test_takes_bfloat16_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        build()(torch.randn(4, 3)).sum().backward()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"latent_dim": 0}, "latent_dim must be at least 1, not 0"),
        ({"num_layers": -1}, "num_layers must be at least 0, not -1"),
        ({"activation": "swish"}, "activation must be one of leaky_relu, relu, .*, not swish"),
        ({"output": "sigmoid"}, "output must be linear or tanh, not sigmoid"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict, line: str) -> None:
    arguments = {"input_dim": 5, "init": Default(), "dim": 16} | changes
    with pytest.raises(ValueError, match=line):
        inspect.unwrap(GanMLP.__init__)(GanMLP.__new__(GanMLP), **arguments)


def test_is_trained_by_its_own_task_alone() -> None:
    with pytest.raises(UserError, match=r"model=gan_mlp .*task=adversarial"):
        resolve(["task=classification", "data=digits", "model=gan_mlp"])
    run = resolve(["task=adversarial"])
    assert run.choices["model"] == "gan_mlp"
    assert "attention" not in run.config
