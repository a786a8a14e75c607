"""Known answers of https://kexue.fm/archives/7038 about Langevin dynamics."""

import math
from typing import Any

import pytest
import torch

from suexp.nn.gaussian_mixture import GaussianMixture
from suexp.sampler import Langevin
from suexp.sampler.base import Score


def test_the_exact_energy_of_a_normal_law_gives_its_moments() -> None:
    # A step maps the variance v to (1 - h/2)^2 v + h; its fixed point is 1 / (1 - h/4).
    walk = Langevin(step=0.3, schedule="plain", hold_steps=0, anneal_steps=200, freeze_steps=0)
    generator = torch.Generator().manual_seed(0)
    n = 40_000
    x = walk.start(n, 1, generator, dtype=torch.float64)
    x = walk(Score(lambda y: -y), x, generator)
    variance = 1 / (1 - 0.09 / 4)
    assert abs(float(x.mean())) < 3 * (variance / n) ** 0.5
    assert float(x.var()) == pytest.approx(variance, rel=3 * (2 / n) ** 0.5)


def test_without_temperature_it_descends() -> None:
    mixture = GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.2)
    walk = Langevin(t_max=1.0, hold_steps=0, anneal_steps=0, freeze_steps=1)
    assert walk.temperature(0) == 0
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double()
    energy = -mixture.log_prob(x)
    for _ in range(20):
        x = walk.walk(Score(mixture.score), x, None)
        assert (-mixture.log_prob(x) <= energy + 1e-12).all()
        energy = -mixture.log_prob(x)


def test_the_temperature_is_the_papers() -> None:
    walk = Langevin(t_max=100.0, hold_steps=500, anneal_steps=2000, freeze_steps=200)
    assert [walk.temperature(i) for i in (0, 499)] == [100.0, 100.0]
    assert walk.temperature(1499) == pytest.approx(10.0)
    assert walk.temperature(2499) == pytest.approx(1.0)
    assert walk.temperature(2599) == pytest.approx(0.5)
    assert walk.temperature(2699) == 0.0
    falls = [walk.temperature(i) for i in range(2700)]
    assert falls == sorted(falls, reverse=True)
    assert {Langevin(schedule="plain").temperature(i) for i in range(400)} == {1.0}


def test_a_step_is_the_equation() -> None:
    walk = Langevin(step=0.2, t_max=4.0, hold_steps=1, anneal_steps=0, freeze_steps=0)
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    found = walk.walk(Score(lambda y: -3 * y), x, torch.Generator().manual_seed(5))
    dw = x.new_empty(1, 2).normal_(std=0.2, generator=torch.Generator().manual_seed(5))
    expected = x + 0.02 * (-3 * x) + math.sqrt(4) * dw
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"step": 0.0}, "step must be above 0"),
        ({"t_max": 0.5}, "t_max must be at least 1"),
        ({"hold_steps": -1}, "hold_steps must be at least 0"),
        ({"start_std": 0.0}, "start_std must be above 0"),
    ],
)
def test_mistakes_are_one_line(arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Langevin(**arguments)
