"""Several processes on one machine's CPU: the same batches, the same numbers."""

from pathlib import Path

import pytest

from suexp.runner.compose import resolve
from suexp.runner.local import run_one
from suexp.runner.store import Run
from tests.runner.tiny import tiny

OVERRIDES = ("model.dropout=0", "trainer.max_steps=8", "trainer.val_check_interval=8")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_equal_one(tmp_path: Path, strategy: str) -> None:
    # FSDP2 clips no gradients through Lightning, so nobody does here.
    common = [*OVERRIDES, "trainer.gradient_clip_val=null"]
    single = run_one(resolve(tiny(tmp_path, *common)).config)
    two = [item for item in tiny(tmp_path, *common) if item != "trainer=cpu"]
    several = run_one(resolve([*two, f"trainer={strategy}", "trainer.accelerator=cpu"]).config)
    assert single is not None
    assert several is not None
    assert several["status"] == "finished", several["error"]
    # Two batches of evaluation each instead of two in all: compare the training loss.
    assert several["metrics"]["train/loss"] == pytest.approx(
        single["metrics"]["train/loss"], rel=0.05
    )
    assert several["cost"]["parameters"] == single["cost"]["parameters"]


@pytest.mark.slow
def test_a_parent_on_several_devices_is_trained_first(tmp_path: Path) -> None:
    several = [item for item in tiny(tmp_path, *OVERRIDES) if item != "trainer=cpu"]
    several += ["trainer=ddp", "trainer.accelerator=cpu", 'parent=["seed=5"]']
    config = resolve(several).config
    summary = run_one(config)
    assert summary is not None
    assert summary["status"] == "finished", summary["error"]
    parent = Run(config["parent"]).summary()
    assert parent is not None
    assert parent["metrics"]["train/loss"] > summary["metrics"]["train/loss"]
