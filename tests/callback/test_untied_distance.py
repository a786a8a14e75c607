"""Copies stay together or part, and the callback tells which."""

from pathlib import Path

import pytest
import torch

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny

HANG = "callback=untied_distance"
ENLARGE = ("transform=enlarge_width", "position=learned", "model.dim=32", "model.dropout=0.1")


def run(tmp_path: Path, *overrides: str) -> tuple[dict[str, float], Run]:
    parent = 'parent=["model.dim=16"]'
    config = spec_of(tiny(tmp_path, HANG, *ENLARGE, parent, *overrides))
    summary = execute(config)
    assert summary.status == "finished", summary.error
    return summary.metrics, Run(config)


def test_equal_shares_stay_together_even_under_dropout(tmp_path: Path) -> None:
    metrics, stored = run(tmp_path)
    assert metrics["val/untied_distance"] == pytest.approx(0, abs=1e-6)
    rows = stored.tables()["copies"]
    assert len(rows) == 2 * 8 * 8
    for when in ("before training", "after training"):
        flat = [row["weight"] for row in rows if row["when"] == when]
        weight = torch.tensor(flat).view(8, 8)
        torch.testing.assert_close(weight[::2], weight[1::2], atol=1e-6, rtol=0)


def test_unequal_shares_part(tmp_path: Path) -> None:
    metrics, stored = run(tmp_path, "transform.split=asymmetric", "optimizer.lr=1e-2")
    assert metrics["val/untied_distance"] > 0.01
    history = [line for line in stored.history() if "val/untied_distance" in line]
    assert history[0]["step"] == 0
    assert history[0]["val/untied_distance"] < 1e-6


@pytest.mark.slow
def test_looking_changes_nothing(tmp_path: Path) -> None:
    metrics, _ = run(tmp_path)
    config = spec_of(tiny(tmp_path, *ENLARGE, 'parent=["model.dim=16"]'))
    assert execute(config).metrics["val/loss"] == metrics["val/loss"]
