from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from suexp.code.instantiate import instantiate
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run

WINE = ["task=hessian_bound", "data.name=wine", "data.whiten=none", "threads=1"]
WINE += ["trainer.enable_progress_bar=false", "trainer=cpu"]


def test_bounds_and_least_squares_of_a_set(tmp_path: Path) -> None:
    spec = spec_of([*WINE, f"out={tmp_path}"])
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    found = summary.metrics
    rows = instantiate(spec.config["data"]).splits()["train"]
    x = np.asarray(rows["x"], dtype=np.float64)
    joint = np.concatenate([x, np.ones((len(x), 1))], 1)
    raw = np.linalg.norm(joint.T @ joint / len(x), 2)
    assert found["train/lmax_raw"] == pytest.approx(raw)
    assert found["train/lmax_center"] == pytest.approx(np.linalg.norm(np.cov(x.T, ddof=0), 2))
    assert found["train/lmax_standard"] == pytest.approx(
        np.linalg.norm(np.corrcoef(x.T), 2), rel=1e-6
    )
    for form in ("raw", "center", "scale", "standard"):
        assert found[f"train/lmax_{form}"] <= found[f"train/trace_{form}"]
        assert found[f"train/lmax_{form}"] <= found[f"train/entries_{form}"]
        assert found[f"train/stable_ratio_{form}"] == pytest.approx(1, abs=0.05)
    assert len(Run(spec).tables()["hessian"]) == 4
    state = torch.load(Run(spec).checkpoints()[0], weights_only=True)["state_dict"]
    best = LinearRegression().fit(x, np.eye(3)[np.asarray(rows["label"])])
    np.testing.assert_allclose(state["model.classifier.weight"], best.coef_, atol=1e-4)
    np.testing.assert_allclose(state["model.classifier.bias"], best.intercept_, atol=1e-3)
    assert found["val/accuracy"] > 0.85


def test_a_bound_without_bias_and_other_batches(tmp_path: Path) -> None:
    ends = [
        execute(spec_of([*WINE, "task.bias=false", size, f"out={tmp_path}"])).metrics
        for size in ("data.batch_size=7", "data.batch_size=1000")
    ]
    names = [name for name in ends[0] if "lmax" in name or "trace" in name]
    assert [ends[0][name] for name in names] == pytest.approx([ends[1][name] for name in names])
