from pathlib import Path

import pytest
import torch

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny


def run(tmp_path: Path, *overrides: str) -> tuple[dict[str, float], Run]:
    config = spec_of(tiny(tmp_path, *overrides))
    summary = execute(config)
    assert summary.status == "finished", summary.error
    return summary.metrics, Run(config)


UPDATE = (
    "callback=update_size",
    "callbacks.update_size.every=5",
    "callbacks.update_size.bins=4",
)


def test_a_sign_optimizer_moves_every_weight_by_its_learning_rate(tmp_path: Path) -> None:
    constant = ("scheduler=constant", "optimizer.lr=1e-3", "optimizer.weight_decay=0.1")
    metrics, stored = run(tmp_path, *UPDATE, *constant, "optimizer=lion")
    assert metrics["train/update_rms"] == pytest.approx(1.0, abs=2e-2)
    rows = stored.tables()["update"]
    assert [row["size"] for row in rows] == [0.25, 0.75, 1.25, 1.75]
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)


def test_adamw_moves_less(tmp_path: Path) -> None:
    metrics, _ = run(tmp_path, *UPDATE, "optimizer=adamw")
    assert 0.05 < metrics["train/update_rms"] < 1.1


@pytest.mark.slow
def test_weight_noise_raises_the_loss_and_leaves_the_weights(tmp_path: Path) -> None:
    noise = "callback=weight_noise"
    small, with_noise = run(tmp_path, noise, "callbacks.weight_noise.scale=0.01")
    large, _ = run(tmp_path, noise, "callbacks.weight_noise.scale=0.5")
    _, without = run(tmp_path)
    assert 0 < abs(small["val/noise_rise"]) < large["val/noise_rise"]
    states = [
        torch.load(stored.checkpoints()[0], weights_only=True)["state_dict"]
        for stored in (with_noise, without)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_gradient_signs_agree_more_with_larger_batches(tmp_path: Path) -> None:
    sign = "callback=gradient_sign"
    small, _ = run(tmp_path, sign, "data.batch_size=2", "trainer.max_steps=5")
    large, _ = run(tmp_path, sign, "data.batch_size=64", "trainer.max_steps=5")
    name = "train/gradient_sign_agreement"
    assert 0.5 < small[name] < large[name] <= 1
