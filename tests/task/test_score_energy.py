"""Energies learned by denoising, and generators pulled by two: https://kexue.fm/archives/7038."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.init import Lecun
from suexp.job.build import build, data_of
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.model import EnergyMLP
from suexp.sampler import Langevin
from suexp.task.score_energy import ScoreEnergy
from suexp.task.score_generator import ScoreGenerator

SMALL = ["model.dim=8", "model.num_layers=1", "data.num_train=200", "data.num_validation=60"]

BOTH = "callback=[density_grid,sample_quality]"


def made(*overrides: str) -> Any:
    config = resolve(overrides).config
    torch.manual_seed(0)
    return build(config, data_of(config))


def test_samples_are_those_of_the_seed() -> None:
    task = made("task=score_energy", "sampler.anneal_steps=10", *SMALL)
    assert isinstance(task, ScoreEnergy)
    one, two, other = task.sample(20, 1), task.sample(20, 1), task.sample(20, 2)
    assert one.shape == (20, 2)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert not one.requires_grad


def test_the_score_is_minus_the_gradient_of_the_energy() -> None:
    task = made("task=score_energy", *SMALL)
    x = torch.randn(9, 2)
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(task.model(y).sum(), y)
    torch.testing.assert_close(task.score().field(x), -slope)
    torch.testing.assert_close(task.log_density(x), -task.model(x).detach())
    assert task.sigma == task.score().sigma == 0.5


def test_levels_scale_the_score() -> None:
    task = made("task=score_energy", "loss=multiscale_score", "sampler=ode", *SMALL)
    score, x = task.score(), torch.randn(5, 2)
    assert score.at is not None
    torch.testing.assert_close(score.at(x, 0.1), score.field(x))
    torch.testing.assert_close(score.at(x, 0.2), score.field(x) / 4)


def test_an_energy_whose_gradient_is_not_its_own_is_refused() -> None:
    task = made("task=score_energy", *SMALL)
    network = EnergyMLP(2, Lecun(), dim=4)
    network.hidden = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match="need a model without BatchNorm"):
        ScoreEnergy(
            Langevin(),
            0,
            model=network,
            loss=task.loss,
            optimizer=None,
            scheduler=None,
            data=task.data,
        )


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["task=score_energy", "sampler=ode"], "goes down through levels of noise"),
        (["sampler=langevin"], "follows the gradient of a log-density; use task=score_energy"),
        (["task=score_energy", "data=pydoc"], "it reads vectors; use data=ring"),
        (["task=score_energy", "loss=cross_entropy"], "an energy learns by denoising"),
        (["model=energy_mlp", "task=classification", "data=digits"], "it is trained by its"),
        (["task=score_generator", "model=gan_mlp"], "learns two energies and a generator"),
        (["task=score_energy", "sampler.t_max=0.5"], "t_max must be at least 1"),
        (["task=score_energy", "sampler.schedule=hot"], "is none of 'annealed', 'plain'"),
    ],
)
def test_what_does_not_fit_is_told(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        resolve(overrides)


def test_the_generator_stands_still_where_two_scores_are_one() -> None:
    task = made("task=score_generator", *SMALL)
    assert isinstance(task, ScoreGenerator)
    pair = task.model.critic
    pair.generated.load_state_dict(pair.data.state_dict())
    task.generate = lambda count: task.model.generator(torch.randn(count, 2))  # type: ignore[method-assign]
    task.generator_objective(16).backward()
    assert all(float(p.grad.abs().max()) == 0 for p in task.model.generator.parameters())


def test_the_generators_gradient_is_the_difference_of_the_scores() -> None:
    task = made("task=score_generator", *SMALL).double()
    z = torch.randn(12, 2, dtype=torch.float64)
    task.generate = lambda count: task.model.generator(z[:count])
    torch.manual_seed(3)
    task.generator_objective(12).backward()
    found = [p.grad.clone() for p in task.model.generator.parameters()]
    torch.manual_seed(3)
    x = task.model.generator(z)
    u = (x + 0.5 * torch.empty_like(x).normal_()).detach().requires_grad_()
    critic = task.model.critic
    s_p, s_q = (-net(u).sum() for net in (critic.data, critic.generated))
    pull = torch.autograd.grad(s_q, u)[0] - torch.autograd.grad(s_p, u)[0]
    task.model.generator.zero_grad()
    (pull / 12 * x).sum().backward()
    for p, wanted in zip(task.model.generator.parameters(), found, strict=True):
        torch.testing.assert_close(p.grad, wanted, rtol=1e-10, atol=1e-12)


def test_the_energies_step_does_not_reach_the_generator() -> None:
    task = made("task=score_generator", *SMALL)
    batch = {"x": torch.randn(10, 2), "fake": task.model.generator(torch.randn(10, 2))}
    task.objective(batch).backward()
    assert all(p.grad is None for p in task.model.generator.parameters())
    assert task.model.critic.data.energy.weight.grad.abs().max() > 0
    assert task.model.critic.generated.energy.weight.grad.abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [
        ["task=score_energy", "trainer.precision=bf16-mixed"],
        [
            "task=score_energy",
            "trainer.precision=64-true",
            "callback=[density_grid,sample_quality]",
        ],
        ["task=score_energy", "loss=multiscale_score", "trainer.accumulate_grad_batches=2"],
        ["task=score_generator", "task.n_critic=2", "trainer.precision=bf16-mixed"],
        ["task=score_generator", "task.n_critic=2", "trainer.precision=64-true"],
    ],
    ids=lambda chosen: " ".join(chosen),
)
def test_trains_in_every_precision(chosen: list[str], tmp_path: Path) -> None:
    steps = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer=cpu", "threads=1"]
    own = ["data.batch_size=6", f"out={tmp_path}", "trainer.enable_progress_bar=false"]
    sizes = [*SMALL, *(["sampler.anneal_steps=3"] if "energy" in chosen[0] else [])]
    metrics = execute(spec_of([*chosen, *sizes, *steps, *own])).metrics
    figures = {name: value for name, value in metrics.items() if name.startswith("val/")}
    assert figures
    assert all(math.isfinite(value) for value in figures.values()), figures


def test_weights_of_16_bits_are_refused() -> None:
    task = made("task=score_energy", *SMALL)
    with pytest.raises(UserError, match=r"does not fit into 16 bits; use bf16-mixed"):
        task.trainer_settings({"precision": "bf16-true"})


@pytest.mark.slow
def test_real_digits(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mnist_t10k"
    chosen = [
        *("task=score_energy", "data=idx", "data.pixels=dequantized", "data.batch_size=64"),
        f"data.images={folder}/t10k-images-idx3-ubyte.gz",
        f"data.labels={folder}/t10k-labels-idx1-ubyte.gz",
        *("loss=multiscale_score", "loss.sigma_min=0.3", "loss.sigma0=0.6", "init=lecun"),
        *("model.dim=128", "model.activation=elu"),
        *("callback=sample_quality", "callbacks.sample_quality.num_samples=200"),
        *("sampler.hold_steps=5", "sampler.anneal_steps=40", "sampler.freeze_steps=5"),
        *("scheduler=constant", "optimizer.lr=3e-3", "trainer.gradient_clip_val=null"),
        *("trainer.max_steps=150", "trainer.val_check_interval=150", "trainer.limit_val_batches=1"),
        *("trainer=cpu", "threads=1", f"out={tmp_path}", "trainer.enable_progress_bar=false"),
    ]
    metrics = execute(spec_of(chosen)).metrics
    assert metrics["val/real_confidence"] > 0.8
    assert metrics["val/real_energy_distance"] < 0.2
    # Of 784 pixels without any training the loss is 784.
    assert metrics["val/loss"] < 750
    assert math.isfinite(metrics["val/frechet"])
