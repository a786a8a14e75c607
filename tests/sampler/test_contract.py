"""What every sampler does: options are found by themselves."""

from typing import Any

import pytest
import torch

from suexp.config.catalogue import Catalogue
from suexp.sampler.base import Sampler, Score

CATALOGUE = Catalogue()
OPTIONS = sorted(CATALOGUE.groups["sampler"])


def made(name: str, **changes: Any) -> Sampler:
    from suexp.code.instantiate import instantiate

    node = {**CATALOGUE.option("sampler", name).content, **changes}
    sampler: Sampler = instantiate(node, [])
    return sampler


def normal_score() -> Score:
    """N(0, 1) in every coordinate, and with noise."""
    return Score(lambda x: -x, 0.0, lambda x, sigma: -x / (1 + sigma**2))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_generator_gives_the_same_points(name: str) -> None:
    sampler = made(name)
    drawn = []
    for seed in (0, 0, 1):
        generator = torch.Generator().manual_seed(seed)
        x = sampler.start(7, 3, generator, dtype=torch.float64)
        drawn.append(sampler(normal_score(), x, generator))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].shape == (7, 3)
    assert drawn[0].dtype == torch.float64
    assert torch.isfinite(drawn[0]).all()


@pytest.mark.parametrize("name", OPTIONS)
def test_works_under_inference_mode_and_keeps_no_graph(name: str) -> None:
    from suexp.nn.input_gradient import score_and_gradient

    network = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

    def field(x: torch.Tensor) -> torch.Tensor:
        return -score_and_gradient(lambda y: network(y).squeeze(-1), x, False)[1]

    score = Score(field, 0.1, lambda x, sigma: field(x) / sigma)
    sampler = made(name)
    with torch.inference_mode():
        x = sampler(score, sampler.start(5, 2, torch.Generator().manual_seed(0)))
    assert not x.requires_grad
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("name", OPTIONS)
def test_a_last_step_takes_the_noise_off(name: str) -> None:
    score = Score(lambda x: -4 * x, 0.5, lambda x, sigma: -x / (1 + sigma**2))
    x = torch.ones(4, 2)
    ends = []
    for final in (True, False):
        sampler = made(name, final_denoise=final)
        ends.append(sampler(score, x, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(ends[0], score.denoised(ends[1]))
    assert torch.equal(score.denoised(x), torch.zeros(4, 2))  # E[x|u] of a point mass at 0


@pytest.mark.parametrize("name", OPTIONS)
def test_starts_where_it_says(name: str) -> None:
    sampler = made(name)
    x = sampler.start(50_000, 2, torch.Generator().manual_seed(0))
    assert float(x.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(x.std()) == pytest.approx(sampler.start_std, rel=0.02)
