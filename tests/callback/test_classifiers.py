from pathlib import Path

import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from suexp.callback.calibration import Calibration
from suexp.callback.decision_grid import DecisionGrid
from suexp.code.instantiate import instantiate
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import unchecked

IRIS = [
    "task=analytic_classification",
    "data.name=iris",
    "data.whiten=total",
    "trainer=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "threads=1",
]
GRID = ("callback=decision_grid", "callbacks.decision_grid.points=9")


def test_calibration_error(tmp_path: Path) -> None:
    config = spec_of([*IRIS, "callback=calibration", "task.covariance=total", f"out={tmp_path}"])
    summary = execute(config, print)
    assert summary.status == "finished", summary.error
    data = instantiate(config.config["data"])
    task = build(config.config, data)
    (path,) = Run(config).checkpoints()
    task.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    rows = data.splits()["validation"]
    batch = data.collate([rows[i] for i in range(len(rows))])
    with torch.no_grad():
        probabilities = task.model(batch["x"]).softmax(-1)
    peer = MulticlassCalibrationError(3, n_bins=10)(probabilities, batch["label"])
    assert summary.metrics["val/calibration_error"] == pytest.approx(float(peer), abs=1e-6)
    bins = Run(config).tables()["calibration"]
    assert sum(row["rows"] for row in bins) == len(rows)
    assert all(abs(row["confidence"] - row["bin"]) <= 0.05 + 1e-6 for row in bins)


def test_decision_grid(tmp_path: Path) -> None:
    config = spec_of([*IRIS, *GRID, "data.columns=[2,3]", f"out={tmp_path}"])
    summary = execute(config, print)
    assert summary.status == "finished", summary.error
    assert summary.metrics["val/classes_chosen"] == 3
    rows = Run(config).tables()["decision"]
    assert len(rows) == 81
    assert {row["class"] for row in rows} == {0, 1, 2}


def test_mistakes(tmp_path: Path) -> None:
    summary = execute(unchecked([*IRIS, f"out={tmp_path}"], "decision_grid"), print)
    assert summary.mistake
    assert "two features" in summary.error
    with pytest.raises(ValueError, match="bins=0"):
        Calibration(0)
    with pytest.raises(ValueError, match="points=1"):
        DecisionGrid(1)
