"""Figures by place, and the cosines of the places' vectors."""

from pathlib import Path
from typing import Any

import pytest

from suexp.callback.places import Places
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny, unchecked

PLACES = (
    "callback=places",
    "callbacks.places.split_at=6",
    "callbacks.places.rows=100000",  # all that there are, as validation reads
)
COSINES = "callback=position_cosine"


def run(tmp_path: Path, *overrides: str) -> tuple[dict[str, Any], Run]:
    settings = tiny(
        tmp_path, "data.val_fraction=0.001", "trainer.limit_val_batches=1.0", *overrides
    )
    if "task=masked_lm" in overrides:
        settings.remove("task.sample_tokens=0")
    config = spec_of(settings)
    return execute(config), Run(config)


def test_the_two_parts_make_the_whole(tmp_path: Path) -> None:
    summary, stored = run(tmp_path, *PLACES)
    metrics = summary.metrics
    whole = (6 * metrics["val/loss_before"] + 10 * metrics["val/loss_after"]) / 16
    assert whole == pytest.approx(metrics["val/loss"], rel=1e-5)
    rows = stored.tables()["places"]
    assert [row["place"] for row in rows] == [2, 6, 10, 14]
    assert sum(row["loss"] for row in rows) / 4 == pytest.approx(metrics["val/loss"], rel=1e-5)
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_masked_tokens_count_and_measuring_changes_nothing(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, "task=masked_lm", *PLACES)
    bare, _ = run(tmp_path, "task=masked_lm")
    metrics = summary.metrics
    assert metrics["val/loss_after"] > 0
    assert metrics["val/loss"] == bare.metrics["val/loss"]


def test_a_text_that_ends_before_has_no_other_places(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, *PLACES, "callbacks.places.split_at=16")
    assert summary.metrics["val/loss_before"] == pytest.approx(
        summary.metrics["val/loss"], rel=1e-5
    )
    assert "val/loss_after" not in summary.metrics


def test_refuses_what_has_no_places(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split_at 0, rows 256 and width 4 must be at least 1"):
        Places(0)
    settings = [*tiny(tmp_path), "task=classification", "data=docstring_topic"]
    settings = [item for item in settings if not item.startswith(("task.", "data.max_bytes"))]
    summary = execute(unchecked([*settings, "mask=bidirectional"], "places", split_at=8))
    assert summary.mistake
    assert summary.error.startswith("callback=places reads running text; use task=causal_lm")


def test_hierarchical_blocks_repeat_the_first_ones_pattern(tmp_path: Path) -> None:
    sixteen = "callbacks.position_cosine.points=16"
    _, stored = run(tmp_path, COSINES, "position=hierarchical", sixteen)
    rows = stored.tables()["position_cosine"]
    assert len(rows) == 2 * 16 * 16
    assert {row["when"] for row in rows} == {"before training", "after training"}
    same = [row["cosine"] for row in rows if row["row"] == row["column"]]
    assert same == pytest.approx([1.0] * 32, abs=1e-4)


def test_cosines_need_vectors(tmp_path: Path) -> None:
    summary = execute(unchecked(tiny(tmp_path), "position_cosine"))
    assert summary.mistake
    assert "compares positions that are added to embeddings; use" in summary.error
