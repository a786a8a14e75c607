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
