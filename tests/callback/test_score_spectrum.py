"""The scores of a head have as many directions as its keys have features."""

from pathlib import Path
from typing import Any

import pytest

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.summary import Summary
from tests.support.tiny import tiny

ON = (
    "callback=score_spectrum",
    "callbacks.score_spectrum.length=12",
    "callbacks.score_spectrum.texts=2",
    "model.key_dim=4",
)


def measured(tmp_path: Path, *overrides: str) -> tuple[Summary, list[dict[str, Any]]]:
    config = spec_of(tiny(tmp_path, *ON, *overrides))
    summary = execute(config)
    assert summary.status == "finished", summary.error
    return summary, Run(config).tables()["score_spectrum"]


def test_a_heads_scores_have_the_rank_of_its_keys(tmp_path: Path) -> None:
    summary, rows = measured(tmp_path)
    assert summary.metrics["val/score_rank"] == 4
    for layer in (0, 1):
        values = [row["value"] for row in rows if row["layer"] == layer]
        assert len(values) == 12
        assert values[0] == pytest.approx(1)
        assert values == sorted(values, reverse=True)
        assert values[3] > 1e-4
        assert max(values[4:]) < 1e-10


def test_positions_add_no_rank(tmp_path: Path) -> None:
    """A bias of positions would make it full."""
    assert measured(tmp_path, "position=alibi")[0].metrics["val/score_rank"] == 4


def test_heads_that_talk_have_the_rank_of_all(tmp_path: Path) -> None:
    """Two heads."""
    assert measured(tmp_path, "attention=talking_heads")[0].metrics["val/score_rank"] == 8
    unmixed = measured(tmp_path / "b", "attention=talking_heads", "attention.pre=false")
    assert unmixed[0].metrics["val/score_rank"] == 4


def test_attention_without_scores_is_refused_before_training(tmp_path: Path) -> None:
    summary = execute(spec_of(tiny(tmp_path, *ON, "attention=linear")))
    assert summary.status == "failed"
    assert "Linear forms no scores" in (summary.error or "")
    assert not summary.cost.get("steps")


def test_texts_that_are_too_short_are_said(tmp_path: Path) -> None:
    summary = execute(spec_of(tiny(tmp_path, *ON, "callbacks.score_spectrum.length=4000")))
    assert "no text has 4000 tokens" in (summary.error or "")
