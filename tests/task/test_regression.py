"""Least squares, against scikit-learn's closed form and metrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import trained
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run

LINEAR = (
    *("task=regression", "data.name=diabetes", "model=linear", "data.batch_size=10000"),
    *("optimizer=lbfgs", "scheduler=constant", "trainer.gradient_clip_val=null", "threads=1"),
    *("trainer=cpu", "trainer.enable_progress_bar=false", "trainer.val_check_interval=40"),
)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_a_linear_model_is_least_squares(tmp_path: Path, precision: str) -> None:
    own = [f"trainer.precision={precision}", "trainer.max_steps=40", f"out={tmp_path}"]
    spec = spec_of([*LINEAR, *own])
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    data = instantiate(spec.config["data"])
    x, y = ({s: np.stack(d[:][name]) for s, d in data.splits().items()} for name in ("x", "target"))
    peer = LinearRegression().fit(x["train"].astype(float), y["train"])
    guess, truth = peer.predict(x["validation"].astype(float)), y["validation"]
    expected = {
        "val/loss": mean_squared_error(truth, guess),
        "val/mae": mean_absolute_error(truth, guess),
        "val/r2": r2_score(truth, guess),
        "val/pearson": pearsonr(truth, guess).statistic,
        "val/spearman": spearmanr(truth, guess).statistic,
    }
    for name, value in expected.items():
        assert summary.metrics[name] == pytest.approx(value, abs=1e-3), name
    weight = trained(Run(spec)).model.classifier.weight[0]
    np.testing.assert_allclose(weight.detach().numpy(), peer.coef_, atol=0.02)


@pytest.mark.slow
def test_sixteen_bits_train_and_are_judged_in_full(tmp_path: Path) -> None:
    found = {}
    for precision in ("32-true", "bf16-mixed", "bf16-true"):
        spec = spec_of(
            [
                *("task=regression", "data.name=diabetes", "model.dim=16", "threads=1"),
                *("trainer=cpu", "trainer.max_steps=60", f"trainer.precision={precision}"),
                *("trainer.enable_progress_bar=false", f"out={tmp_path}"),
            ]
        )
        summary = execute(spec)
        assert summary.status == "finished", summary.error
        found[precision] = summary.metrics["val/r2"]
    assert 0.2 < found["32-true"] < 0.7
    assert found["bf16-mixed"] == pytest.approx(found["32-true"], abs=0.05)
    assert found["bf16-true"] == pytest.approx(found["32-true"], abs=0.1)


def test_what_does_not_fit_is_refused() -> None:
    for said, line in (
        (["task=regression"], "needs quantities: it predicts numbers; use data=sklearn"),
        (["task=regression", "data.name=diabetes", "loss=cross_entropy"], "needs squared error"),
        (["task=classification", "data=sklearn", "data.name=diabetes", "model=mlp"], "labels"),
    ):
        with pytest.raises(UserError, match=line):
            resolve(said)


def test_one_row_has_no_share_of_variance() -> None:
    from suexp.job.build import build

    config = resolve(["task=regression", "data.name=diabetes", "model.dim=4"]).config
    task = build(config, instantiate(config["data"]))
    seen = {}
    task.report = seen.update
    for rows in (1, 2):
        batch = {"x": torch.zeros(rows, 10), "target": torch.arange(rows).float()}
        task.validation_step(batch, 0)
        task.on_validation_epoch_end()
        assert ("val/r2" in seen) == (rows > 1)
