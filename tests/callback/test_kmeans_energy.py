"""The learned units' energy comes near to that of K-means' centroids."""

from pathlib import Path

import pytest

import suexp
from suexp.callback.kmeans_energy import KmeansEnergy


def test_units_end_where_centroids_are(tmp_path: Path) -> None:
    found = suexp.run(
        [
            *("task=hashing", "callback=kmeans_energy", "model.num_bits=1", "task.shown=2"),
            *("optimizer.momentum=0", "optimizer.lr=0.8", "scheduler.warmup=0", "threads=1"),
            *("scheduler.final_ratio=0", "trainer.gradient_clip_val=null", f"out={tmp_path}"),
            *("trainer.max_steps=110", "trainer.val_check_interval=55"),
            "trainer.enable_progress_bar=false",
        ]
    )
    assert found.status == "finished"
    kmeans, learned = (found.metrics[f"val/{name}_energy"] for name in ("kmeans", "train"))
    assert kmeans == pytest.approx(-0.93, abs=0.02)
    assert learned == pytest.approx(kmeans, abs=0.03)


def test_no_start_is_refused() -> None:
    with pytest.raises(ValueError, match="starts=0: at least 1"):
        KmeansEnergy(0)
