"""What a run tells its study, and what the pruners make of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from suexp.job.trial import Trial, pruner
from suexp.store.folder import Run

optuna = pytest.importorskip("optuna")


class Measured(Run):
    """A run of which only the history is there."""

    def __init__(self, folder: Path, losses: dict[int, Any]) -> None:
        self.folder = folder
        lines = [json.dumps({"step": step, "val/loss": loss}) for step, loss in losses.items()]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def study(kind: str, startup: int = 2, warmup: int = 0) -> Any:
    """A study of three trials that came to 1, 2 and 3 in two validations."""
    made = optuna.create_study(pruner=pruner(kind, startup, warmup))
    made.set_user_attr("asked", {"metric": "val/loss"})
    for loss in (1.0, 2.0, 3.0):
        trial = made.ask()
        for step in (10, 20):
            trial.report(loss, step)
            trial.should_prune()  # hyperband keeps what it was asked
        made.tell(trial, loss)
    return made


@pytest.mark.parametrize(
    ("kind", "startup", "warmup", "loss", "hopeless"),
    [
        ("median", 2, 0, 2.5, True),
        ("median", 2, 0, 1.5, False),
        ("median", 4, 0, 2.5, False),
        ("median", 2, 11, 2.5, False),
        ("none", 0, 0, 99.0, False),
        ("hyperband", 0, 10, 99.0, True),
        ("hyperband", 0, 10, 0.5, False),
    ],
)
def test_pruners(
    tmp_path: Path, kind: str, startup: int, warmup: int, loss: float, hopeless: bool
) -> None:
    made = study(kind, startup, warmup)
    trial = Trial(made, made.ask().number)
    trial.report(Measured(tmp_path, {10: loss}))
    assert trial.should_prune() == hopeless


def test_a_history_is_reported_once(tmp_path: Path) -> None:
    made = study("none")
    number = made.ask().number
    trial = Trial(made, number)
    trial.report(Measured(tmp_path, {0: 9.0, 5: 3.0, 7: "nan"}))
    run = Measured(tmp_path, {0: 9.0, 5: 3.0, 10: 2.0})
    trial.report(run)
    Trial(made, number).report(run)  # Optuna would warn of what it knows
    assert made.trials[number].intermediate_values == {5: 3.0, 10: 2.0}
