"""Runs that set weights by a formula, from config to summary."""

from pathlib import Path

import pytest
import torch

from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.task.analytic_classification import AnalyticClassification

CLOSED = ("task=analytic_classification", "data.name=wine", "data.batch_size=16", "trainer=cpu")
QUIET = ("trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1", "threads=1")


def config(out: Path, *overrides: str):
    return spec_of([*CLOSED, *QUIET, f"out={out}", *overrides])


def weights(run: Run) -> dict[str, torch.Tensor]:
    (path,) = run.checkpoints()
    state = torch.load(path, weights_only=True)
    assert state["sums"] == state["known"] == {}
    return state["state_dict"]


@pytest.mark.slow
def test_a_run_reads_every_row_once(tmp_path: Path) -> None:
    chosen = config(tmp_path)
    summary = execute(chosen, print)
    assert summary.status == "finished", summary.error
    assert summary.cost["steps"] == 9  # 133 rows: the last batch has 5
    assert 0 < summary.cost["train_seconds"] < summary.cost["wall_seconds"]
    assert summary.cost["flops_per_step"] > 0
    assert summary.metrics["val/accuracy"] > 0.9
    assert Run(chosen).history()[-1]["step"] == 9
    whole = config(tmp_path, "data.batch_size=1000")
    execute(whole, print)
    first, second = weights(Run(chosen)), weights(Run(whole))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("shrinkage", ["0.0", "ledoit_wolf"])
@pytest.mark.parametrize("stop", [1, 4, 9])
def test_stopped_and_resumed_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shrinkage: str, stop: int
) -> None:
    chosen = config(tmp_path, f"task.shrinkage={shrinkage}", "trainer.checkpoint_seconds=0")
    straight = config(tmp_path / "straight", f"task.shrinkage={shrinkage}")
    execute(straight, print)
    accumulate, calls = AnalyticClassification.accumulate, []

    def failing(self: AnalyticClassification, batch: dict[str, torch.Tensor]) -> None:
        calls.append(len(batch["x"]))
        if len(calls) == stop + 1:
            raise RuntimeError("the power went off")
        accumulate(self, batch)

    monkeypatch.setattr(AnalyticClassification, "accumulate", failing)
    first = execute(chosen, print)
    if shrinkage == "0.0" and stop == 9:
        assert first.error.endswith("went off")  # while its cost was counted
    assert first.status == "failed"
    monkeypatch.setattr(AnalyticClassification, "accumulate", accumulate)
    again = execute(chosen, print)
    assert again.status == "finished", again.error
    assert again.cost["steps"] == (18 if shrinkage == "ledoit_wolf" else 9)
    last = Run(chosen).checkpoints()[0]
    resumed = torch.load(last, weights_only=True)["state_dict"]
    for name, value in weights(Run(straight)).items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.slow
def test_optimization_starts_from_the_weights(tmp_path: Path) -> None:
    parent = execute(config(tmp_path), print)
    child = spec_of(
        [
            "task=classification",
            "model=linear",
            "data=sklearn",
            "data.name=wine",
            "data.batch_size=16",
            "trainer=cpu",
            *QUIET,
            f"out={tmp_path}",
            "trainer.max_steps=0",
            "parent=['task=analytic_classification','trainer.max_steps=600']",
        ]
    )
    summary = execute(child, print)
    assert summary.status == "finished", summary.error
    for name in ("val/loss", "val/accuracy"):
        assert summary.metrics[name] == pytest.approx(parent.metrics[name], rel=1e-6)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer=adam", "cannot be combined with optimizer=adam: its weights follow"),
        ("loss=cross_entropy", "cannot be combined with loss=cross_entropy"),
        ("trainer=fsdp", "cannot be combined with trainer=fsdp"),
        ("model=transformer", "model=transformer needs text"),
    ],
)
def test_refuses_when_composed(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        config(tmp_path, override)


def test_refuses_several_epochs(tmp_path: Path) -> None:
    summary = execute(config(tmp_path, "+trainer.max_epochs=3"), print)
    assert summary.mistake
    assert summary.error.startswith("sufficient statistics need 1 pass, not trainer.max_epochs=3")
