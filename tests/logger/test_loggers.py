import csv
import json
import multiprocessing
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb

from suexp.errors import UserError
from suexp.job.checkpoint import Checkpoints
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.logger import Wandb
from suexp.store.folder import Run
from suexp.store.provenance import provenance
from tests.logger.offline import Offline, offline
from tests.support.tiny import tiny

pytestmark = pytest.mark.xdist_group("loggers")  # one worker makes what its tests share


def finished(overrides: list[str]) -> Run:
    config = spec_of(overrides)
    summary = execute(config)
    assert summary.status == "finished", summary.error
    return Run(config)


def killed(config: dict[str, Any]) -> None:
    """Run it up to step 13, with a checkpoint at step 7, in a process that is killed then."""

    def at_step(self: Checkpoints, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 7:
            self.save(trainer)
        if trainer.global_step == 13:
            os.kill(os.getpid(), signal.SIGKILL)

    def child() -> None:
        Checkpoints.on_train_batch_end = at_step  # type: ignore[method-assign]
        execute(config)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all three views that was killed, and then went on to its end."""
    out = tmp_path_factory.mktemp("resumed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", "planted" + "0" * 33)
        patch.setenv("HF_TOKEN", "planted-token")
        overrides = tiny(
            out,
            "logger=[csv,tensorboard,wandb]",
            "run.experiment=lion",
            "run.arm=adamw",
            "attention=performer",
            "trainer.log_every_n_steps=1",
        )
        config = spec_of(overrides)
        killed(config)
        steps = [line["step"] for line in Run(config).history()]
        assert steps == list(range(1, 14))
        run = finished(overrides)
    wandb.teardown()  # it remembers the key
    return run


@pytest.fixture(scope="module")
def read_back(resumed: Run) -> Offline:
    runs = offline(resumed.folder)
    assert len(runs) == 1  # the part that was killed would overwrite this one, if it could be read
    return runs[0]


def record(run: Run) -> dict[int, dict[str, float]]:
    return {line.pop("step"): line for line in run.history()}


@pytest.mark.slow
def test_a_killed_run_goes_on_as_one_wandb_run(resumed: Run, read_back: Offline) -> None:
    assert read_back.run["run_id"] == resumed.id
    assert list(read_back.history) == list(range(1, 21))
    assert read_back.history == record(resumed)
    assert read_back.exit_code == 0


@pytest.mark.slow
def test_wandb_knows_what_was_run(resumed: Run, read_back: Offline) -> None:
    run = read_back.run
    assert (run["project"], run["run_group"], run["job_type"]) == ("suexp", "lion", "adamw")
    assert run["display_name"] == "adamw-0"
    assert set(run["tags"]) == {
        *("lion", "laptop", "task=causal_lm", "data=pydoc", "model=transformer"),
        *("attention=performer", "position=rope", "loss=cross_entropy"),
        *("optimizer=adamw", "scheduler=cosine"),
    }
    code = read_back.config.pop("code")
    now = provenance()
    assert code == {
        "versions": now["versions"],
        "commit": now["commit"],
        "dirty": now["dirty"],
    }
    assert run["git"]["commit"] == now["commit"]


@pytest.mark.slow
def test_wandb_gets_the_config_and_nothing_of_the_environment(
    resumed: Run, read_back: Offline
) -> None:
    config = read_back.config
    del config["code"]
    assert config == json.loads(json.dumps(resumed.config))
    assert "planted" not in read_back.text
    for path in resumed.folder.rglob("*"):
        if path.is_file():
            assert b"planted" not in path.read_bytes(), path


@pytest.mark.slow
def test_wandb_s_summary_holds_final_metrics_and_costs(resumed: Run, read_back: Offline) -> None:
    summary = resumed.summary()
    assert summary is not None
    costs = {f"cost/{name}": value for name, value in summary.cost.items()}
    assert read_back.summary == {
        **summary.metrics,
        **costs,
        "status": "finished",
        "error": None,
    }


@pytest.mark.slow
def test_csv_holds_what_the_record_holds(resumed: Run) -> None:
    with (resumed.folder / "metrics.csv").open() as file:
        rows = {int(row.pop("step")): row for row in csv.DictReader(file)}
    found = {
        step: {name: float(text) for name, text in row.items() if text}
        for step, row in rows.items()
    }
    assert found == record(resumed)


@pytest.mark.slow
def test_tensorboard_holds_what_the_record_holds(resumed: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(resumed.folder / "tensorboard"))
    events.Reload()
    found: dict[int, dict[str, float]] = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            row = found.setdefault(event.step, {})
            assert name not in row
            row[name] = event.value
    expected = {
        step: {name: float(np.float32(value)) for name, value in row.items()}
        for step, row in record(resumed).items()
    }
    assert found == expected


@pytest.mark.slow
def test_wandb_online_without_a_key_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    wandb.teardown()  # it remembers the environment
    with pytest.raises(UserError, match=r"mode=online needs a key"):
        Wandb(tmp_path, mode="online", name="n", id="i")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb.teardown()
    Wandb(tmp_path, mode="online", name="n", id="i")
    wandb.teardown()
