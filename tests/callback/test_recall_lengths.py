import math
from pathlib import Path

import pytest

from suexp.callback.recall_lengths import RecallLengths
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import unchecked

RECALL = (
    "task=classification",
    "data=recall",
    "data.length=8",
    "data.num_validation=64",
    "position=none",
    "model.pool=last",
    "model.num_layers=1",
    "model.dim=16",
    "model.num_heads=2",
    "trainer=cpu",
    "trainer.enable_progress_bar=false",
    "threads=1",
    "callback=recall_lengths",
    "callbacks.recall_lengths.lengths=[4,16,64]",
    "callbacks.recall_lengths.texts=32",
)


def test_uniform_attention_has_the_entropy_of_its_keys(tmp_path: Path) -> None:
    """Without queries and keys all n + 1 rows weigh the same, and nothing can be found."""
    still = ("init=score_gain", "init.score_gain=0", "trainer.max_steps=1", "scheduler.warmup=1")
    config = spec_of([*RECALL, *still, f"out={tmp_path}"])
    summary = execute(config)
    assert summary.status == "finished", summary.error
    rows = Run(config).tables()["recall"]
    assert [row["length"] for row in rows] == [4, 16, 64]
    for row in rows:
        assert row["entropy"] == pytest.approx(math.log(row["length"] + 1), abs=1e-3)
        assert summary.metrics[f"val/entropy_n{row['length']}"] == row["entropy"]
        assert row["accuracy"] < 0.5
    slope = (math.log(65) - math.log(5)) / (math.log(64) - math.log(4))
    assert summary.metrics["val/entropy_slope"] == pytest.approx(slope, abs=0.02)


def test_refusals(tmp_path: Path) -> None:
    other = ["task=classification", "data=digits", "model=mlp", "trainer.max_steps=1"]
    summary = execute(unchecked([*other, f"out={tmp_path}"], "recall_lengths"))
    assert summary.mistake
    assert "use data=recall" in summary.error
    with pytest.raises(ValueError, match="two lengths or more"):
        RecallLengths(lengths=[4])
