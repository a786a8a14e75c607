"""What density_grid and sample_quality find, on tasks whose answers are known."""

from typing import Any

import pytest
import torch

from suexp.callback.density_grid import DensityGrid
from suexp.callback.sample_quality import SampleQuality, judged
from suexp.config.compose import resolve
from suexp.job.build import build, data_of

SMALL = ["model.dim=8", "model.num_layers=1", "data.num_train=400", "data.num_validation=300"]


def made(*overrides: str) -> Any:
    config = resolve(overrides).config
    torch.manual_seed(0)
    return build(config, data_of(config))


def test_of_the_true_density_the_divergence_is_nothing() -> None:
    task = made("task=score_energy", "data=two_modes", *SMALL)
    law = task.data.law.noised(task.sigma**2)
    task.log_density = lambda x: law.log_prob(x.double()) + 3.0  # up to a constant
    DensityGrid(points=60, shown=20).measure(task)
    assert abs(task.final["val/kl_grid"]) < 1e-6
    assert task.final["val/mode_weight"] == pytest.approx(0.8, abs=1e-3)
    assert task.final["val/true_mode_weight"] == pytest.approx(0.8, abs=1e-3)
    rows = task.tables["densities"]
    assert len(rows) == 2 * 20 * 20
    area = (rows[1]["x2"] - rows[0]["x2"]) ** 2
    assert sum(r["density"] for r in rows if r["of"] == "true") * area == pytest.approx(1, abs=0.02)


def test_of_another_density_it_is_the_divergence() -> None:
    task = made("task=score_energy", "data.num_modes=1", "data.radius=0", "data.std=1", *SMALL)
    task.loss.ramp = lambda step: 1e-6
    variance = 4.0
    task.log_density = lambda x: -x.double().square().sum(1) / (2 * variance)
    DensityGrid(points=200, reach=6.0).measure(task)
    # Of normal laws in the plane: log v + 1/v - 1.
    wanted = torch.tensor(variance).log() + 1 / variance - 1
    # On the grid the wider law is cut off at 6, three of its deviations.
    assert task.final["val/kl_grid"] == pytest.approx(float(wanted), abs=0.02)


def test_samples_of_the_data_are_as_near_as_the_data() -> None:
    task = made("task=score_energy", *SMALL)
    law = task.data.law
    task.sample = lambda count, seed: law.sample(count, torch.Generator().manual_seed(seed))
    SampleQuality(num_samples=300).measure(task, task.data.splits())
    final = task.final
    for name in ("energy_distance", "w1", "sliced_w1"):  # of 300 points they vary much
        ratio = final[f"val/{name}"] / final[f"val/real_{name}"]
        assert 1 / 4 < ratio < 4, name
    assert final["val/modes"] == 8
    assert final["val/share_good"] > 0.98
    assert {row["kind"] for row in task.tables["samples"]} == {"real", "generated"}


def test_points_that_are_no_numbers_are_far() -> None:
    task = made("task=score_energy", *SMALL)
    task.sample = lambda count, seed: torch.full((count, 2), torch.nan)
    SampleQuality(num_samples=50).measure(task, task.data.splits())
    for name in ("energy_distance", "w1", "sliced_w1", "frechet"):
        assert task.final[f"val/{name}"] == float("inf"), name


@pytest.mark.slow
def test_a_classifier_judges_digits() -> None:
    task = made("task=score_energy", "data=digits", "data.dequantize=true", "model.dim=8")
    splits = task.data.splits()
    rows = {name: task.data.collate(splits[name].__getitems__(list(range(300)))) for name in splits}
    train, held = rows["train"], rows["validation"]
    arguments = (train["x"].double(), train["label"], held["x"].double(), held["label"])
    real = judged(*arguments, held["x"].double())
    assert real["confidence"] == real["real_confidence"] > 0.6
    assert real["class_kl"] < 0.05
    gray = judged(*arguments, torch.full((300, 64), 0.4, dtype=torch.float64))
    assert gray["class_kl"] > 1


def test_a_fitted_gaussian_draws_from_itself() -> None:
    task = made("task=density_fit", "model=gaussian", "data=mixture2d")
    task.model.mean.copy_(torch.tensor([1.0, -2.0]))
    task.model.cholesky.copy_(torch.tensor([[2.0, 0.0], [0.5, 0.1]]))
    x = task.sample(100_000, 0)
    assert torch.allclose(x.mean(0), torch.tensor([1.0, -2.0]).double(), atol=0.02)
    wanted = torch.tensor([[4.0, 1.0], [1.0, 0.26]]).double()
    assert torch.allclose(torch.cov(x.T), wanted, atol=0.05)
    assert torch.equal(task.log_density(x[:5]), task.model.log_prob(x[:5]))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: DensityGrid(points=1), "at least 2 each"),
        (lambda: DensityGrid(reach=0.0), "reach must be above 0"),
        (lambda: SampleQuality(num_samples=1), "num_samples must be at least 2"),
        (lambda: SampleQuality(projections=0), "projections must be at least 1"),
    ],
)
def test_mistakes_are_one_line(make: Any, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make()
