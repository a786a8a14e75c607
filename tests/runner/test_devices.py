"""Several processes on one machine's CPU: the same batches, the same numbers."""

from pathlib import Path

import pytest

from suexp.runner.compose import resolve
from suexp.runner.local import run_one
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
