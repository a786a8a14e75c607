"""Figures of a run with noisy labels, against a direct computation; the curve of a loss."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from suexp.callback.loss_curve import LossCurve
from suexp.job.build import build, data_of
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.loss import CrossEntropy
from suexp.loss.tailr import TaiLr
from suexp.normalizer import Softmax
from suexp.store.folder import Run

RUN = ["task=classification", "data=digits", "model=mlp", "trainer=cpu", "threads=1"]
RUN += ["trainer.enable_progress_bar=false", "trainer.max_steps=60", "alter=label_noise"]
RUN += ["alter.label_noise.rate=0.4", "callback=[memorisation,calibration,loss_curve]"]


@pytest.mark.slow
def test_against_a_direct_computation(tmp_path: Path) -> None:
    spec = spec_of([*RUN, "loss=tailr", f"out={tmp_path}"])
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    data = data_of(spec.config)
    task: Any = build(spec.config, data)
    (path,) = Run(spec).checkpoints()
    task.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    batches, p = {}, {}
    for split, rows in data.splits().items():
        batches[split] = data.collate(rows.__getitems__(list(range(len(rows)))))
        with torch.no_grad():
            p[split] = task.eval().logits(batches[split]).softmax(-1)
    train, held, metrics = batches["train"], batches["validation"], summary.metrics
    places, dirty = torch.arange(1400), train["is_dirty"]
    q, true = (p["train"][places, train[name]] for name in ("label", "clean_label"))
    for name, found in (("p_dirty", q[dirty]), ("p_true", true[dirty]), ("p_clean", q[~dirty])):
        assert metrics[f"train/{name}"] == pytest.approx(found.mean().item(), abs=1e-6)
    peer = MulticlassCalibrationError(10, n_bins=15)(p["validation"], held["noisy_label"])
    assert metrics["val/ece_noisy"] == pytest.approx(float(peer), abs=1e-6)
    assert metrics["val/ece_noisy"] != metrics["val/calibration_error"]
    confidence = p["validation"].amax(-1).mean().item()
    assert metrics["val/confidence"] == pytest.approx(confidence, abs=1e-6)
    memory = Run(spec).tables()["memory"]
    assert len(memory) == 30
    for kind in ("clean", "dirty"):
        assert sum(row["share"] for row in memory if row["rows"] == kind) == pytest.approx(1)
    assert len(Run(spec).tables()["loss_curve"]) == 41


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_the_curve_is_the_formula(gamma: float) -> None:
    for row in LossCurve(points=7, width=4).rows(TaiLr(gamma), Softmax()):
        q = row["q"]
        assert row["weight"] == pytest.approx(q / (gamma + (1 - gamma) * q), rel=1e-4)
    ends = LossCurve(points=2, width=2).rows(CrossEntropy(), Softmax())
    assert ends[0]["loss"] == pytest.approx(2 + ends[1]["loss"], abs=1e-5)
