"""Second moments through a deep network, against theory."""

import math
from pathlib import Path

import pytest

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run

DEEP = (
    *("task=classification", "data=digits", "model=mlp", "model.num_layers=30", "model.dim=128"),
    "model.norm=null",
    *("callback=layer_moments", "trainer=cpu", "trainer.max_steps=0", "threads=1"),
    "trainer.enable_progress_bar=false",
)


def measured(out: Path, *own: str) -> tuple[float, list[float]]:
    spec = spec_of([*DEEP, *own, f"out={out}"])
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    table = Run(spec).tables()["moments"]
    return summary.metrics["start/log10_moment"], [row["moment"] for row in table]


@pytest.mark.slow
def test_relu_halves_what_lecuns_rule_gives_and_he_makes_up_for_it(tmp_path: Path) -> None:
    lecun, ratios = measured(tmp_path, "init=lecun")
    assert len(ratios) == 31
    assert ratios[0] == 1
    assert lecun == pytest.approx(30 * math.log10(0.5), abs=1)
    he, _ = measured(tmp_path, "init=he")
    assert abs(he) < 1
    orthogonal, _ = measured(tmp_path, "init=orthogonal", "init.gain=1.41421356")
    assert abs(orthogonal) < 1


@pytest.mark.slow
def test_a_fixed_deviation_vanishes_or_explodes(tmp_path: Path) -> None:
    small, _ = measured(tmp_path, "init=normal")
    assert small < -40
    large, _ = measured(tmp_path, "init=normal", "init.weight_std=0.3")
    assert large == pytest.approx(22, abs=2)
    none, ratios = measured(tmp_path, "init=normal", "init.weight_std=1e-6")
    assert none == -99
    assert ratios[-1] == 0


@pytest.mark.slow
def test_it_is_of_the_start_where_training_follows(tmp_path: Path) -> None:
    run = ("init=he", "trainer.max_steps=5", "trainer.val_check_interval=5")
    begun, _ = measured(tmp_path, *run, "trainer.val_at_start=true")
    still, _ = measured(tmp_path, "init=he")
    assert begun == pytest.approx(still, abs=1e-6)


@pytest.mark.slow
def test_a_linear_model_has_no_hidden_layer(tmp_path: Path) -> None:
    spec = spec_of([*DEEP, "model.num_layers=0", f"out={tmp_path}"])
    summary = execute(spec)
    assert summary.status == "failed"
    assert "callback=layer_moments: the model has no hidden layer" in str(summary.error)
