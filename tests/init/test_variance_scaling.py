"""Every law and size, against torch's initialisers and scipy."""

import inspect
from typing import get_args

import pytest
import torch
from scipy.stats import kurtosis, truncnorm
from torch import nn

from suexp.init import FanOut, He, Lecun, Normal, VarianceScaling, Xavier
from suexp.init.variance_scaling import TRUNCATED, Distribution
from suexp.model.mlp import MLP
from suexp.nn.linear import FusedLinear, Linear

# Of one entry: E w^4 / (E w^2)^2.
KURTOSIS = {
    "normal": 3.0,
    "uniform": 1.8,
    "truncated_normal": 2.366,
    "rademacher": 1.0,
    "laplace": 6.0,
}


def drawn(init: VarianceScaling | Normal, fan_in: int = 500, fan_out: int = 1000) -> torch.Tensor:
    torch.manual_seed(0)
    layer = Linear(fan_in, fan_out)
    init.apply(layer)
    assert layer.bias.count_nonzero() == 0
    return layer.weight.detach()


@pytest.mark.parametrize("distribution", get_args(Distribution))
@pytest.mark.parametrize(
    ("mode", "scale", "variance"),
    [("fan_in", 1.0, 1 / 500), ("fan_out", 2.0, 2 / 1000), ("fan_avg", 1.0, 1 / 750)],
)
def test_mean_variance_and_kurtosis(
    distribution: Distribution, mode: str, scale: float, variance: float
) -> None:
    weight = drawn(VarianceScaling(mode, scale, distribution, gain=1.5))
    assert weight.var().item() == pytest.approx(2.25 * variance, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=4 * (2.25 * variance / 5e5) ** 0.5)
    found = kurtosis(weight.flatten().numpy(), fisher=False)
    assert found == pytest.approx(KURTOSIS[distribution], rel=0.05)


@pytest.mark.parametrize(
    ("init", "peer"),
    [
        (Lecun, lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")),
        (He, lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
        (FanOut, lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="linear")),
        (Xavier, nn.init.xavier_normal_),
    ],
)
def test_presets_are_torchs_numbers(init: type[VarianceScaling], peer: object) -> None:
    weight = drawn(init())
    torch.manual_seed(0)
    other = Linear(500, 1000)
    peer(other.weight)  # type: ignore[operator]
    torch.testing.assert_close(weight, other.weight.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("init", "peer"),
    [
        (He, lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        (Xavier, nn.init.xavier_uniform_),
    ],
)
def test_uniform_presets_have_torchs_size(init: type[VarianceScaling], peer: object) -> None:
    weight, other = drawn(init(distribution="uniform")), torch.empty(1000, 500)
    peer(other)  # type: ignore[operator]
    assert weight.std().item() == pytest.approx(other.std().item(), rel=0.01)
    assert weight.abs().max().item() == pytest.approx(other.abs().max().item(), rel=0.01)


def test_a_truncated_normal_has_the_size_that_was_asked_for() -> None:
    assert truncnorm.std(-2, 2) == pytest.approx(TRUNCATED, abs=1e-9)
    assert pytest.approx(1.1368472) == 1 / TRUNCATED
    weight = drawn(Lecun(distribution="truncated_normal"))
    assert weight.std().item() == pytest.approx(500**-0.5, rel=0.01)
    assert weight.abs().max().item() <= 2 * 1.1368473 * 500**-0.5


def test_rademacher_signs_have_one_size() -> None:
    weight = drawn(Lecun(distribution="rademacher"))
    assert weight.abs().unique().tolist() == pytest.approx([500**-0.5], rel=1e-6)
    assert weight.sign().mean().item() == pytest.approx(0, abs=0.006)


def test_gains_by_name_and_of_the_model() -> None:
    assert He().std(7, 11) == pytest.approx(Lecun(gain="relu").std(7, 11))
    model = MLP(20, 3, Lecun(gain="auto"), dim=400, num_layers=2, activation="tanh")
    wide = model.hidden[3].weight
    assert wide.std().item() == pytest.approx((0.394294 * 400) ** -0.5, rel=0.02)
    with pytest.raises(ValueError, match=r"init\.gain=auto: Linear does not tell its activation"):
        Lecun(gain="auto").apply(Linear(2, 2))


def test_one_deviation_for_all_sizes() -> None:
    for fan_in in (30, 500):
        assert drawn(Normal(), fan_in).std().item() == pytest.approx(0.02, rel=0.03)
    bert = drawn(Normal(distribution="truncated_normal"))
    assert bert.std().item() == pytest.approx(0.02, rel=0.01)


def test_fused_blocks_count_as_layers_of_their_own() -> None:
    torch.manual_seed(0)
    layer = FusedLinear(400, [100, 400])
    FanOut().apply(layer)
    small, large = layer.weight.split([100, 400])
    assert small.std().item() == pytest.approx(0.1, rel=0.02)
    assert large.std().item() == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("distribution", get_args(Distribution))
def test_half_precision_and_float64(distribution: Distribution) -> None:
    for dtype in (torch.bfloat16, torch.float64):
        torch.manual_seed(0)
        layer = Linear(256, 256).to(dtype)
        Lecun(distribution=distribution).apply(layer)
        assert layer.weight.dtype == dtype
        assert layer.weight.float().std().item() == pytest.approx(1 / 16, rel=0.02)


def raw(kind: type, *args: object, **named: object) -> None:
    """Construct without the tests' own look at the types."""
    inspect.unwrap(kind.__init__)(kind.__new__(kind), *args, **named)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: raw(VarianceScaling, "fan"),
            "mode must be one of fan_in, fan_out",
        ),
        (lambda: VarianceScaling(scale=0), "scale must be above 0, not 0"),
        (
            lambda: raw(VarianceScaling, distribution="cauchy"),
            "distribution must be one of",
        ),
        (lambda: Lecun(gain="swish"), "activation must be one of relu, gelu"),
        (lambda: Lecun(gain=0.0), "gain must be above 0, not 0"),
        (lambda: Normal(0.0), "weight_std must be above 0, not 0"),
        (lambda: raw(Normal, distribution="cauchy"), "distribution must be one of"),
    ],
)
def test_mistakes_are_one_line(make: object, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make()  # type: ignore[operator]
