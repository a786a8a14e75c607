import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.job.checkpoint import Interrupted
from suexp.job.recorder import Recorder
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny

PLAIN = ("trainer.gradient_clip_val=null", "optimizer.lr=0.1", "trainer.val_check_interval=20")
SGDM = ("optimizer=sgdm", *PLAIN)
SHADOW = (
    "callback=[shadow,optimizer_diagnostics]",
    "callbacks.shadow.every=1",
)


def run(out: Path, *overrides: str) -> tuple[dict[str, float], Run]:
    stored = Run(spec_of(tiny(out, *overrides)))
    summary = execute(stored.spec)
    assert summary.status == "finished", summary.error
    return summary.metrics, stored


def test_the_same_optimizer_leads_to_the_same_weights_and_the_run_does_not_change(
    tmp_path: Path,
) -> None:
    """With dropout, and a schedule that warms up and falls."""
    metrics, with_shadow = run(tmp_path, *SGDM, *SHADOW)
    _, without = run(tmp_path, *SGDM)
    assert metrics["train/shadow_distance_max"] == 0
    assert metrics["train/updates"] == 20
    states = [
        torch.load(stored.checkpoints()[0], weights_only=True)["state_dict"]
        for stored in (with_shadow, without)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(("precision", "most"), [("32-true", 1e-6), ("64-true", 1e-14)])
def test_accumulation_hidden_in_the_momentum_is_that_of_a_buffer(
    precision: str, most: float, tmp_path: Path
) -> None:
    settings = (*SGDM, *SHADOW, "optimizer.grad_accum_steps=4", "scheduler=constant")
    exact, _ = run(
        tmp_path, *settings, "callbacks.shadow.accumulate=4", f"trainer.precision={precision}"
    )
    assert 0 < exact["train/shadow_distance_max"] < most
    assert exact["train/updates"] == 5
    other, _ = run(tmp_path, *settings, f"trainer.precision={precision}")
    assert other["train/shadow_distance_max"] > 1e-2


def test_ratios_of_two_states_make_a_table(tmp_path: Path) -> None:
    metrics, stored = run(
        tmp_path, *SHADOW, *PLAIN, "optimizer=adam_accum", "optimizer.lr=1e-3",
        "optimizer.grad_accum_steps=5", "optimizer.mode=explicit",
        "~callbacks.shadow.optimizer",
        "+callbacks.shadow.optimizer._target_=suexp.optimizer.adam_accum.AdamAccum",
        "+callbacks.shadow.optimizer._partial_=true", "+callbacks.shadow.optimizer.lr=1e-3",
        "callbacks.shadow.accumulate=5", "callbacks.shadow.state=exp_avg_sq",
    )  # fmt: skip
    assert metrics["train/shadow_distance_max"] < 1e-6
    ratios = torch.tensor([row["log2_ratio"] for row in stored.tables()["shadow_state"]])
    assert 300 < len(ratios) <= 400
    assert ratios.abs().median() < 1e-3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainer.gradient_clip_val=1.0", "set trainer.gradient_clip_val=null"),
        ("trainer.accumulate_grad_batches=2", "set trainer.accumulate_grad_batches=1"),
    ],
)
def test_it_refuses_what_only_the_run_would_do(setting: str, message: str, tmp_path: Path) -> None:
    summary = execute(spec_of(tiny(tmp_path, *SGDM, *SHADOW, setting)))
    assert summary.status == "failed"
    assert message in (summary.error or "")


def test_a_run_that_goes_on_ends_as_one_that_was_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps of the shadow, so that half a sum of gradients is kept."""
    settings = (*SGDM, *SHADOW, "optimizer.grad_accum_steps=4", "callbacks.shadow.accumulate=3")
    straight, _ = run(tmp_path / "straight", *settings)
    stopped, end = spec_of(tiny(tmp_path / "stopped", *settings)), Recorder.on_train_batch_end

    def stop(self: Recorder, trainer: Any, *rest: Any) -> None:
        end(self, trainer, *rest)
        if trainer.global_step == 10:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", stop)
        with pytest.raises(Interrupted):
            execute(stopped)
    resumed = execute(stopped)
    assert resumed.status == "finished", resumed.error
    name = "train/shadow_distance_max"
    assert resumed.metrics[name] == straight[name] > 0
