"""Engines of clusters, for real on this machine: a worker that is killed loses nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobStatus

from hydra_plugins.suexp_launcher._base import job_returns
from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from hydra_plugins.suexp_launcher.ray_launcher import RayLauncher
from hydra_plugins.suexp_launcher.submitit_launcher import SubmititLauncher
from suexp.errors import Unwritable, UserError
from suexp.job.run import execute
from suexp.launch.processes import run_elsewhere
from suexp.launch.saved_config import save
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from tests.support.tiny import tiny

STEPS = ("trainer.max_steps=30", "trainer.val_check_interval=15", "trainer.checkpoint_seconds=0")
LOCAL = {"gpus": 0, "mem_gb": None, "timeout_min": 10, "parameters": {}}


def local(out: Path, retries: int) -> Any:
    del out
    return LocalLauncher(2, retries)


def submitit(out: Path, retries: int) -> Any:
    return SubmititLauncher("local", 2, 1, retries, folder=str(out / "submitit"), **LOCAL)


def ray(out: Path, retries: int) -> Any:
    pytest.importorskip("ray")
    folder = {"_temp_dir": f"/tmp/ray-{os.getpid()}"} if len(str(out)) > 60 else {}
    return RayLauncher(None, 2, 1, 0, retries, {"num_cpus": 2, **folder})


def holder(lock: Path) -> int | None:
    """Return the process that has a file open, other than this one."""
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            if any(fd.readlink() == lock for fd in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue
    return None


def kill_once(run: Run, killed: list[int]) -> None:
    """Kill the run's process as soon as there is a checkpoint to go on from."""
    deadline = time.monotonic() + 240  # an engine on a busy machine takes its time
    while time.monotonic() < deadline and not run.finished:
        pid = holder(run.folder / ".lock") if run.checkpoints() else None
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            return
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds the process in /proc")
@pytest.mark.parametrize(("engine", "seeds"), [(local, [0, 1]), (submitit, [0]), (ray, [0, 1])])
def test_a_killed_worker_s_run_is_taken_over(
    engine: Any, seeds: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = [tiny(tmp_path / "out", *STEPS, f"seed={seed}") for seed in seeds]
    expected = [execute(spec_of(tiny(tmp_path / "own", *x[-4:]))) for x in batch]
    killed: list[int] = []
    run = Run(spec_of(batch[0]))
    watcher = threading.Thread(target=kill_once, args=(run, killed))
    watcher.start()
    returns = engine(tmp_path, 1).launch(batch, 0)
    watcher.join()
    assert killed
    assert "it goes on from its last checkpoint" in capsys.readouterr().err
    for job, wanted in zip(returns, expected, strict=True):
        assert job.return_value.status == "finished"
        for name in ("train/loss", "val/loss"):
            assert job.return_value.metrics[name] == wanted.metrics[name]


class Done:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self.code = code

    def wait(self) -> int:
        return self.code

    def terminate(self) -> None:
        raise AssertionError("nobody asked for it")


@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 2])
def test_a_run_that_dies_again_and_again_leaves_the_others_alone(
    tmp_path: Path, retries: int
) -> None:
    short = ("trainer.max_steps=2", "trainer.val_check_interval=2")
    batch = [tiny(tmp_path, *short, f"seed={seed}") for seed in (0, 1)]
    begun: list[int] = []

    def begin(spec: RunSpec) -> Done:
        begun.append(spec.seed)
        return Done(-9 if spec.seed == 0 else save(spec)())

    first, second = run_elsewhere(batch, 1, 1, begin, retries)
    assert first is None
    assert second is not None
    assert second.status == "finished"
    assert begun == [0] * (1 + retries) + [1]
    died, done = job_returns(batch, [first, second])
    assert (died.status, done.status) == (JobStatus.FAILED, JobStatus.COMPLETED)
    with pytest.raises(RuntimeError, match="its process died"):
        assert died.return_value


@pytest.mark.slow
def test_the_command_with_an_engine(tmp_path: Path) -> None:
    overrides = tiny(tmp_path, "trainer.max_steps=4", "trainer.val_check_interval=4", "seed=0,1")
    launcher = ["hydra/launcher=submitit_local", f"hydra.launcher.folder={tmp_path}/submitit"]
    program = "import sys; from suexp.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "-m", *launcher, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").glob("*/summary.json"))) == 2


@pytest.mark.slow
def test_a_saved_run_runs_where_it_is_called(tmp_path: Path) -> None:
    config = spec_of(tiny(tmp_path, "trainer.max_steps=2", "trainer.val_check_interval=2"))
    saved = save(config)
    assert saved.path.parent == Run(config).folder
    assert saved() == 0
    assert Run(config).finished


def test_a_run_that_cannot_be_saved_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable, match=r"cannot write .*spec\.json: Not a directory; .*out=DIR"):
        save(spec_of(tiny(tmp_path / "file")))


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    launcher = SubmititLauncher("slurm", 2, 1, 0, folder=str(tmp_path), **LOCAL)
    with pytest.raises(UserError, match="submitit_slurm") as caught:
        launcher.launch([tiny(tmp_path)], 0)
    assert "\n" not in str(caught.value)
