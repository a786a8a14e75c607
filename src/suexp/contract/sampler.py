"""What every sampler keeps (see `suexp.sampler.base.Sampler`)."""

import torch
from torch import Generator, Tensor

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, equal, expect, finite, of_class, same
from suexp.nn.input_gradient import score_and_gradient
from suexp.sampler.base import Sampler, Score

BASE = "suexp.sampler.base.Sampler"


def normal_score() -> Score:
    """Return the score of N(0, 1) in every coordinate, and with noise."""
    return Score(lambda x: -x, 0.0, lambda x, sigma: -x / (1 + sigma**2))


def seeded(seed: int = 0) -> Generator:
    """Return a generator of its own."""
    return Generator().manual_seed(seed)


@vital
def derives_from_sampler(subject: Subject) -> None:
    """Its class is one."""
    of_class(subject, Sampler)


@vital
def the_same_generator_gives_the_same_points(subject: Subject) -> None:
    """And another one gives others."""
    sampler, drawn = subject.build(), []
    for seed in (0, 0, 1):
        generator = seeded(seed)
        x = sampler.start(7, 3, generator, dtype=torch.float64)
        drawn.append(sampler(normal_score(), x, generator))
    equal(drawn[1], drawn[0], "two generators of one seed give other points")
    expect(not torch.equal(drawn[0], drawn[2]), "two seeds give the same points")
    expect(drawn[0].shape == (7, 3), f"7 points of 3 numbers have the shape {drawn[0].shape}")
    expect(drawn[0].dtype == torch.float64, f"points in float64 become {drawn[0].dtype}")
    finite([drawn[0]], "the points")


@vital
def works_under_inference_mode_and_keeps_no_graph(subject: Subject) -> None:
    """The score may be a network's gradient."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

    def field(x: Tensor) -> Tensor:
        return -score_and_gradient(lambda y: network(y).squeeze(-1), x, False)[1]

    score = Score(field, 0.1, lambda x, sigma: field(x) / sigma)
    sampler = subject.build()
    with torch.inference_mode():
        x = sampler(score, sampler.start(5, 2, seeded()))
    expect(not x.requires_grad, "the points keep a graph")
    finite([x], "the points")


@check
def a_last_step_takes_the_noise_off(subject: Subject) -> None:
    """With final_denoise."""
    score = Score(lambda x: -4 * x, 0.5, lambda x, sigma: -x / (1 + sigma**2))
    x = torch.ones(4, 2)
    ends = [subject.build(final_denoise=on)(score, x, seeded()) for on in (True, False)]
    same(ends[0], score.denoised(ends[1]), "final_denoise=true is not the denoised point")


@check
def starts_where_it_says(subject: Subject) -> None:
    """At start_mean, with start_std."""
    sampler = subject.build()
    x = sampler.start(50_000, 2, seeded())
    mean, std = float(x.mean()), float(x.std())
    expect(abs(mean - sampler.start_mean) < 0.02, f"points start around {mean:.3f}")
    wanted = sampler.start_std
    expect(abs(std - wanted) < 0.02 * wanted, f"points start with a spread of {std:.3f}")
