"""Second moments of activations, against adaptive quadrature and the post's figures."""

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from suexp.nn.activation import ACTIVATIONS, Scaled, activation, gain, second_moment

KNOWN = {  # computed for https://kexue.fm/archives/7180; sigmoid's is the author's figure, too
    "relu": 0.5,
    "leaky_relu": 0.50005,
    "elu": 0.644945,
    "gelu": 0.425221,
    "silu": 0.355776,
    "tanh": 0.394294,
    "sigmoid": 0.293379,
    "softplus": 0.921246,
    "squared_relu": 1.5,
    "selu": 1.0,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_second_moments(name: str) -> None:
    assert second_moment(name) == pytest.approx(KNOWN[name], abs=1e-6)
    f = ACTIVATIONS[name]()

    def integrand(z: float) -> float:
        return f(torch.tensor(z, dtype=torch.float64)).item() ** 2 * norm.pdf(z)

    sides = [quad(integrand, *ends, epsabs=1e-10)[0] for ends in ((-12, 0), (0, 12))]
    assert second_moment(name) == pytest.approx(sum(sides), abs=1e-6)


def test_selus_mean_is_zero() -> None:
    z = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    density = (-z.square() / 2).exp() / (2 * torch.pi) ** 0.5
    assert torch.trapezoid(nn.SELU()(z) * density, z).item() == pytest.approx(0, abs=1e-6)


def test_gain_is_torchs_for_relu_and_not_its_conventions() -> None:
    assert gain("relu") == pytest.approx(nn.init.calculate_gain("relu"))
    assert gain("leaky_relu") == pytest.approx(nn.init.calculate_gain("leaky_relu", 0.01), 1e-4)
    assert gain("tanh") == pytest.approx(1.5925, abs=1e-4)  # torch's is 5/3
    assert gain("scaled_tanh") == 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_scaled_activations_keep_the_second_moment(name: str) -> None:
    torch.manual_seed(0)
    z = torch.randn(400_000)
    assert activation(f"scaled_{name}")(z).square().mean().item() == pytest.approx(1, rel=0.03)
    assert isinstance(activation(f"scaled_{name}"), Scaled)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="activation must be one of relu, gelu"):
        activation("scaled_swish")
    with pytest.raises(ValueError, match="not swish"):
        gain("swish")
