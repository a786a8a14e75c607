"""Codes of digits: what three hashes find, the prototype's figures of one seed."""

from pathlib import Path

import pytest

import suexp

BASE = [
    *("task=hashing", "model.num_bits=2", "optimizer.momentum=0", "optimizer.lr=3.2"),
    *("scheduler.warmup=0", "scheduler.final_ratio=0", "trainer.gradient_clip_val=null"),
    *("trainer.enable_progress_bar=false", "trainer.val_check_interval=440", "threads=1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "steps", "low", "high"),
    [("hash_lsh", 0, 0.12, 0.24), ("hash_fly", 0, 0.28, 0.5), ("hash_bio", 440, 0.74, 0.86)],
)
def test_neighbours_are_found_by_two_bits(
    model: str, steps: int, low: float, high: float, tmp_path: Path
) -> None:
    found = suexp.run([*BASE, f"model={model}", f"trainer.max_steps={steps}", f"out={tmp_path}"])
    assert found.status == "finished"
    assert low < found.metrics["val/map_at_100"] < high
    assert found.metrics["val/cosine_map_at_100"] == pytest.approx(0.88, abs=0.02)
    if model == "hash_bio":
        assert found.metrics["val/alive"] == 1
        assert found.metrics["val/energy"] < -0.9


def test_too_few_rows_for_the_units_are_one_line(tmp_path: Path) -> None:
    found = suexp.run([*BASE, "data.max_rows=5", "trainer.max_steps=1", f"out={tmp_path}"])
    assert found.mistake
    assert "40 units cannot begin at 5 training rows; set model.start=normal" in str(found.error)
