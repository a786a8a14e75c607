import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from suexp.interruption import STOPS
from suexp.job import checkpoint
from suexp.job.checkpoint import Checkpoints, Interrupted
from suexp.job.recorder import NotFinite, Recorder
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.processes import exit_code, start, stop_at
from tests.support.tiny import tiny


def weights(run: Run) -> dict[str, torch.Tensor]:
    state = torch.load(run.checkpoints()[0], weights_only=True)
    return state["state_dict"]  # type: ignore[no-any-return]


def assert_equal(a: Run, b: Run) -> None:
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    keep = ("step", "train/loss", "train/lr", "val/loss")
    lines = [[{k: line[k] for k in keep if k in line} for line in run.history()] for run in (a, b)]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_killed_and_restarted_equals_uninterrupted(tmp_path: Path) -> None:
    # A Performer has random features beside all that softmax attention has.
    # 60,000 bytes are a few epochs of 4-row batches away: the kills fall within an epoch.
    extra = ["trainer.max_steps=60", "trainer.checkpoint_seconds=0", "attention=performer"]
    config = spec_of(tiny(tmp_path / "killed", *extra))
    whole = spec_of(tiny(tmp_path / "whole", *extra))
    run = Run(config)
    for step in (7, 23, 41):
        stop_at(step, run, start(config), signal.SIGKILL)
        assert not run.finished
    assert exit_code(start(config)) == 0
    assert run.finished
    assert execute(whole).status == "finished"
    assert_equal(run, Run(whole))


@pytest.mark.slow
def test_ctrl_c_stops_after_a_step_and_resumes(tmp_path: Path) -> None:
    extra = ["trainer.max_steps=150", "trainer.checkpoint_seconds=0.05"]
    config = spec_of(tiny(tmp_path / "stopped", *extra))
    run = Run(config)
    process = start(config)
    stop_at(3, run, process, signal.SIGINT)
    assert process.exitcode == 130
    summary = run.summary()
    assert summary is not None
    assert summary.status == "interrupted"
    assert exit_code(start(config)) == 0
    whole = spec_of(tiny(tmp_path / "whole", *extra))
    execute(whole)
    assert_equal(run, Run(whole))


def test_a_stop_at_the_last_step_waits_for_what_is_measured_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = ["trainer.max_steps=4", "callback=update_size", "callbacks.update_size.every=1"]
    config = spec_of(tiny(tmp_path / "stopped", *extra))
    run, end = Run(config), Recorder.on_train_batch_end

    def stop(self: Recorder, trainer: Any, *rest: Any) -> None:
        end(self, trainer, *rest)
        if trainer.global_step == 4:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", stop)
        with pytest.raises(Interrupted):
            execute(config)
    assert [path.stem for path in run.checkpoints()] == ["step=4"]
    said: list[str] = []
    assert execute(config, said.append).status == "finished"
    assert any("goes on from step=4" in line for line in said)
    whole = spec_of(tiny(tmp_path / "whole", *extra))
    execute(whole)
    assert len(run.tables()["update"]) == 40
    assert run.tables() == Run(whole).tables()
    assert_equal(run, Run(whole))


def test_sigterm_in_the_last_evaluation_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = ["trainer.max_steps=4", "trainer.val_check_interval=3"]
    config = spec_of(tiny(tmp_path / "stopped", *extra))
    run = Run(config)
    start = Recorder.on_validation_start

    def stop(self: Recorder, trainer: Any, task: Any) -> None:
        start(self, trainer, task)
        if trainer.global_step == 4:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_validation_start", stop)
        with pytest.raises(Interrupted):
            execute(config)
    summary = run.summary()
    assert summary is not None
    assert summary.status == "interrupted"
    assert execute(config).status == "finished"
    whole = spec_of(tiny(tmp_path / "whole", *extra))
    execute(whole)
    assert_equal(run, Run(whole))


def test_sigterm_in_a_validation_waits_for_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = ["trainer.max_steps=6", "trainer.val_check_interval=3"]
    config = spec_of(tiny(tmp_path, *extra))
    start = Recorder.on_validation_start

    def stop(self: Recorder, trainer: Any, task: Any) -> None:
        start(self, trainer, task)
        if trainer.global_step == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Recorder, "on_validation_start", stop)
    with pytest.raises(Interrupted):
        execute(config)
    assert [path.stem for path in Run(config).checkpoints()] == ["step=4"]


@pytest.mark.parametrize("number", STOPS)
def test_to_ask_again_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    checkpoints = Checkpoints(tmp_path, 60)
    with checkpoints.stop_on_signals():
        signal.raise_signal(number)
        assert checkpoints.asked_to_stop
        signal.raise_signal(signal.SIGTERM)  # from whoever leads, on the same occasion
        monkeypatch.setattr(checkpoint, "TOGETHER", 0)
        with pytest.raises(Interrupted):
            signal.raise_signal(number)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Interrupted])
def test_a_run_that_is_stopped_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def build(*_: Any) -> None:
        raise stop

    config = spec_of(tiny(tmp_path))
    monkeypatch.setattr("suexp.job.run.build", build)
    with pytest.raises(stop):
        execute(config)
    summary = Run(config).summary()
    assert summary is not None
    assert (summary.status, summary.error) == ("interrupted", "stopped by a signal")


def test_processes_of_one_run_stop_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the other one was asked, at a step at which nothing is due."""
    loop = SimpleNamespace(_should_accumulate=lambda: False)
    trainer: Any = SimpleNamespace(
        world_size=2,
        global_step=9,
        fit_loop=SimpleNamespace(epoch_loop=loop, _data_fetcher=None),
        strategy=SimpleNamespace(reduce_boolean_decision=lambda own, all: own or asked),
    )
    checkpoints = Checkpoints(tmp_path, 60)
    saved: list[int] = []
    monkeypatch.setattr(checkpoint, "is_over", lambda _: False)
    monkeypatch.setattr(checkpoints, "save", lambda trainer: saved.append(trainer.global_step))
    asked = True
    checkpoints.on_train_batch_end(trainer)
    trainer.global_step = 10
    with pytest.raises(Interrupted):
        checkpoints.on_train_batch_end(trainer)
    asked, trainer.global_step = False, 20
    checkpoints.on_train_batch_end(trainer)
    assert saved == [10]


@pytest.mark.slow
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    extra = ["trainer.checkpoint_seconds=0"]
    config = spec_of(tiny(tmp_path / "damaged", *extra))
    run = Run(config)
    execute(config)
    expected = weights(run)
    (run.folder / "summary.json").unlink()
    newest = run.checkpoints()[0]
    newest.write_bytes(newest.read_bytes()[:1000])
    said: list[str] = []
    assert execute(config, said.append).status == "finished"
    assert any("is damaged" in line for line in said)
    assert any("goes on from step=19" in line for line in said)
    assert all(torch.equal(expected[name], value) for name, value in weights(run).items())


@pytest.mark.slow
def test_at_most_two_checkpoints_stay(tmp_path: Path) -> None:
    config = spec_of(tiny(tmp_path, "trainer.checkpoint_seconds=0"))
    execute(config)
    assert [path.stem for path in Run(config).checkpoints()] == ["step=20", "step=19"]


def test_the_last_good_checkpoint_is_that_of_the_last_step(tmp_path: Path) -> None:
    """Whatever the clock said when they were written."""
    checkpoints: Any = Checkpoints(tmp_path, 60)
    checkpoints.folder.mkdir()
    for step, time in ((9, 2000), (10, 1000)):
        (checkpoints.folder / f"step={step}.ckpt").touch()
        os.utime(checkpoints.folder / f"step={step}.ckpt", (time, time))
    error = NotFinite(11, float("nan"))
    checkpoints.on_exception(None, None, error)
    assert str(error).endswith(f"(last good checkpoint: {checkpoints.folder / 'step=10.ckpt'})")
