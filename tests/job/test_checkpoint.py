import signal
from pathlib import Path

import pytest
import torch

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


def test_at_most_two_checkpoints_stay(tmp_path: Path) -> None:
    config = spec_of(tiny(tmp_path, "trainer.checkpoint_seconds=0"))
    execute(config)
    assert [path.stem for path in Run(config).checkpoints()] == ["step=20", "step=19"]
