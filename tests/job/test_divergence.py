"""Runs that diverge, as results: trainer.on_divergence=record."""

import json
import math
from pathlib import Path

import pytest
import torch

from suexp.errors import UserError
from suexp.job.divergence import all_finite
from suexp.job.recorder import Recorder
from suexp.job.run import execute
from suexp.launch.processes import run_one
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.task.classification import Classification
from tests.support.tiny import tiny

# A net of two layers on pictures; the step of 1e30 makes its weights infinite.
DIGITS = (
    *("task=classification", "data=digits", "model=mlp", "optimizer=sgd", "scheduler=constant"),
    *("trainer=cpu", "trainer.max_steps=20", "trainer.val_check_interval=8", "threads=1"),
    *("trainer.log_every_n_steps=5", "trainer.enable_progress_bar=false", "data.batch_size=64"),
    *("trainer.gradient_clip_val=null", "trainer.on_divergence=record"),
)
HUGE = "optimizer.lr=1e30"


def digits(out: Path, *more: str) -> list[str]:
    return [*DIGITS, f"out={out}", *more]


def test_the_run_ends_as_finished_at_the_worst_of_all_scales(tmp_path: Path) -> None:
    spec = spec_of(digits(tmp_path, HUGE))
    said: list[str] = []
    summary = execute(spec, said.append)
    assert summary.status == "finished"
    at = summary.diverged_at
    assert at is not None
    assert 1 < at < 5
    assert f"run {spec.id} diverged at step {at}" in said
    metrics = summary.metrics
    assert metrics["train/diverged"] == 1
    assert metrics["train/diverged_at"] == at
    assert metrics["train/loss"] == metrics["val/loss"] == math.inf
    assert metrics["val/accuracy"] == 0
    assert summary.cost["steps"] == at
    assert summary.cost["flops_per_step"] > 0
    assert Run(spec).finished
    assert Run(spec).summary() == summary


def test_the_figures_stay_at_their_worst_until_the_planned_end(tmp_path: Path) -> None:
    spec = spec_of(digits(tmp_path, HUGE))
    at = execute(spec).diverged_at
    history = Run(spec).history()
    assert at is not None
    assert [line["step"] for line in history if "train/loss" in line] == [at, 5, 8, 10, 15, 16, 20]
    assert [line["step"] for line in history if "val/loss" in line] == [at, 8, 16, 20]
    assert {line["val/loss"] for line in history if "val/loss" in line} == {math.inf}


def test_its_files_are_json_for_everybody(tmp_path: Path) -> None:
    spec = spec_of(digits(tmp_path, HUGE))
    execute(spec)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for name in ("summary.json", "metrics.jsonl"):
        for text in (
            (spec.folder / name).read_text().splitlines()
            if name[-1] == "l"
            else [(spec.folder / name).read_text()]
        ):
            json.loads(text, parse_constant=refuse)


def test_a_run_that_does_not_diverge_says_so(tmp_path: Path) -> None:
    summary = execute(spec_of(digits(tmp_path, "optimizer.lr=0.1")))
    assert summary.metrics["train/diverged"] == 0
    assert summary.diverged_at is None
    assert "train/diverged_at" not in summary.metrics
    plain = execute(spec_of(digits(tmp_path, "optimizer.lr=0.1", "trainer.on_divergence=fail")))
    assert "train/diverged" not in plain.metrics
    assert plain.metrics["val/loss"] == summary.metrics["val/loss"]


def test_a_weight_that_the_last_step_breaks_counts(tmp_path: Path) -> None:
    """The loss of the only step is a number; what comes of it is none."""
    summary = execute(spec_of(digits(tmp_path, "optimizer.lr=1e300", "trainer.max_steps=1")))
    assert summary.diverged_at == 1
    assert summary.metrics["val/loss"] == math.inf


def test_figures_without_a_worst_value_are_no_numbers(tmp_path: Path) -> None:
    """What an earlier validation found does not stand for the end."""
    more = ("callback=calibration", "trainer.val_check_interval=1", "optimizer.lr=1e4")
    spec = spec_of(digits(tmp_path, *more, "trainer.max_steps=100"))
    summary = execute(spec)
    assert summary.diverged_at is not None
    named = {name for name in summary.metrics if name.startswith("val/")}
    worst = {"val/accuracy": 0.0, "val/f1_macro": 0.0, "val/loss": math.inf}
    assert {*worst} < named
    assert {name: summary.metrics[name] for name in worst} == worst
    for name in named - {*worst}:
        assert math.isnan(summary.metrics[name]), name
    assert all(math.isfinite(value) for value in Run(spec).history()[0].values())


def test_what_breaks_at_nan_is_a_divergence_too(tmp_path: Path) -> None:
    """Finite weights, no number as a logit: the callback finds no bin for it."""
    more = ("callback=calibration", "trainer.val_check_interval=1", "optimizer.lr=1e20")
    summary = execute(spec_of(digits(tmp_path, *more)))
    assert summary.diverged_at == 1
    assert summary.metrics["val/accuracy"] == 0


def test_another_mistake_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Classification, "on_validation_epoch_end", broken)
    summary = execute(spec_of(digits(tmp_path, "optimizer.lr=0.1")))
    assert summary.status == "failed"
    assert summary.error == "RuntimeError: broken"


@pytest.mark.parametrize(
    "more",
    [
        ("optimizer=lbfgs", "optimizer.lr=1e30", "optimizer.line_search=null"),
        ("optimizer=lbfgs", "optimizer.lr=1e30"),
        (HUGE, "trainer.accumulate_grad_batches=4"),
        (HUGE, "trainer.precision=bf16-true"),
        (HUGE, "trainer.precision=bf16-mixed"),
        (HUGE, "norm=batch", "optimizer=adam"),
    ],
)
def test_with_whatever_makes_a_step(tmp_path: Path, more: tuple[str, ...]) -> None:
    summary = execute(spec_of(digits(tmp_path, *more)))
    assert summary.status == "finished", summary.error
    assert summary.diverged_at is not None
    assert summary.metrics["val/accuracy"] == 0


def test_where_a_look_waits_for_the_device_the_step_is_exact() -> None:
    recorder = Recorder(10, records=True)
    for step, value in enumerate((1.0, 2.0, math.inf, 1.0, math.nan), 1):
        recorder._remember(step, {"loss": torch.tensor(value), "other": torch.tensor(0.0)})
    assert recorder.state_dict()["bad_at"] == 3
    again = Recorder(10, records=True)
    again.load_state_dict(recorder.state_dict())
    again._remember(6, {"loss": torch.tensor(1.0)})
    assert again.state_dict()["bad_at"] == 3


def test_weights_of_any_kind_are_looked_at() -> None:
    network = torch.nn.Linear(2, 2)
    assert all_finite(network)
    assert all_finite(torch.nn.Identity())
    network.weight.data[0, 1] = math.inf
    assert not all_finite(network)


def test_nothing_starts_from_its_weights(tmp_path: Path) -> None:
    child = digits(tmp_path, "trainer.max_steps=1", f"parent=['{HUGE}']")
    with pytest.raises(UserError, match=r"diverged at step .*: nothing can start from its weights"):
        execute(spec_of(child))


def test_what_is_neither_fail_nor_record_is_refused() -> None:
    with pytest.raises(UserError, match=r"set trainer\.on_divergence=record"):
        spec_of(["trainer.on_divergence=ignore"])


@pytest.mark.slow
def test_a_resumed_run_diverges_at_the_same_step(tmp_path: Path) -> None:
    """It goes on from a checkpoint of before."""
    slow = ("optimizer.lr=1e4", "trainer.max_steps=400", "trainer.checkpoint_seconds=0")
    whole = spec_of(digits(tmp_path / "a", *slow))
    at = execute(whole).diverged_at
    assert at is not None
    part = spec_of(digits(tmp_path / "b", *slow))
    expected = Run(whole).history()
    first = execute(part)
    assert first.diverged_at == at
    kept = Run(part).checkpoints()
    assert kept
    assert kept[0].name != f"step={at}.ckpt"
    Run(part).forget_end()
    second = execute(part)
    assert second.diverged_at == at
    skip = "train/elements_per_second"
    strip = lambda rows: [{k: v for k, v in row.items() if k != skip} for row in rows]  # noqa: E731
    assert strip(Run(part).history()) == strip(expected)


@pytest.mark.slow
def test_several_processes_agree(tmp_path: Path) -> None:
    several = [item for item in digits(tmp_path, HUGE) if item != "trainer=cpu"]
    spec = spec_of([*several, "trainer=ddp", "trainer.accelerator=cpu"])
    summary = run_one(spec)
    assert summary is not None
    assert summary.status == "finished", summary.error
    alone = execute(spec_of(digits(tmp_path, HUGE)))
    assert summary.diverged_at == alone.diverged_at
    assert summary.metrics["val/loss"] == math.inf
    assert summary.metrics["train/diverged"] == 1


@pytest.mark.slow
def test_a_language_model_has_its_own_worst(tmp_path: Path) -> None:
    more = ("optimizer=sgd", HUGE, "trainer.gradient_clip_val=null")
    spec = spec_of(tiny(tmp_path, *more, "trainer.on_divergence=record", "task.sample_tokens=5"))
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    assert summary.metrics["val/bits_per_byte"] == math.inf
    assert math.isfinite(summary.metrics["val/unigram_loss"])  # the baseline is none of its figures
    assert summary.sample is None
