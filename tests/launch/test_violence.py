"""An experiment whose processes are killed again and again ends as an undisturbed one does."""

import itertools
import json
import math
import os
import random
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.store.folder import read_history
from tests.launch.conftest import Nursery, said
from tests.support.tiny import EXPERIMENT, TINY
from tests.support.violent import NEVER, Moment

pytestmark = pytest.mark.xdist_group("violence")  # one worker makes what its tests share

# Random features, dropout, a parent that two runs share.
ARMS = (
    EXPERIMENT
    + """
arms:
  plain: {attention: performer}
  child: {from: {seed: 9, trainer.max_steps: 3}}
claims:
  C1: {text: "The child is better.", test: "val/loss[child] < val/loss[plain]"}
"""
)
ARGV = [
    "--config-dir",
    "../conf",
    "experiment=tiny",
    *TINY,
    "out=out",
    "data.max_bytes=280",  # four batches an epoch: a validation falls on the end of one
    "trainer.max_steps=9",
    "trainer.val_check_interval=4",
    "trainer.checkpoint_seconds=0",
    "trainer.log_every_n_steps=3",
    "task.sample_tokens=4",
]
LAST = ("summary.json", "results.json", "report.html")  # what the last kills wait for
OWN = ("wall_seconds", "train_seconds", "peak_memory_bytes", "train/elements_per_second", "needs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("violence")
    (root / "conf" / "experiment").mkdir(parents=True)
    (root / "conf" / "experiment" / "tiny.yaml").write_text(ARMS)
    return root


@pytest.fixture(scope="module")
def undisturbed(folder: Path, begin: Nursery) -> dict[str, Any]:
    status, _ = begin(folder / "undisturbed", argv(0))
    assert status == 0, said(folder / "undisturbed")
    return outcome(folder / "undisturbed")


def argv(jobs: int) -> list[str]:
    return [*ARGV, f"hydra.launcher.jobs={jobs}"]


def without_times(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: without_times(value) for key, value in found.items() if key not in OWN}
    return [without_times(value) for value in found] if isinstance(found, list) else found


def outcome(place: Path) -> dict[str, Any]:
    """Return all that an experiment leaves behind, but for the time that it took."""
    (path,) = (place / "out").glob("tiny/*/results.json")
    results = json.loads(path.read_text())
    del results["created"]
    # What was typed, but for the launcher, whose jobs differ.
    found = {
        "results": without_times(results),
        "report": sorted(p.name for p in path.parent.iterdir()),
    }
    found["results"]["command"] = results["command"].rpartition(" hydra")[0]
    for run in (place / "out" / "runs").iterdir():
        history = read_history(run / "metrics.jsonl")
        newest = max((run / "checkpoints").iterdir(), key=lambda p: int(p.stem.split("=")[1]))
        state = torch.load(newest, weights_only=True)
        summary = json.loads((run / "summary.json").read_text())
        found[run.name] = {
            "history": without_times(history),
            "step": newest.name,
            "metrics": without_times(summary["metrics"]),
            "sample": summary["sample"],
            "weights": {name: value.tolist() for name, value in state["state_dict"].items()},
            "moments": str(state["optimizer_states"]),
        }
    assert not list((place / "out").rglob("*.part"))
    return found


def killed_until_done(
    place: Path, begin: Nursery, jobs: int, draw: random.Random, kills: int
) -> int:
    """Begin the experiment until it ends by itself; return how often it was killed, at most kills.

    Which file comes next is printed, so that what a failure needs to be repeated stands beside it.
    """
    most = {"write": 40 / max(jobs, 1), "event": 300, "time": 1.5, "parent": 1.5}
    kinds = ["write"] * 6 + ["event"] + ["time"] * 2 + ["parent"] * (jobs > 0)
    for number in itertools.count():
        kind = draw.choice(kinds)
        count = draw.uniform(0, most[kind])
        moment = Moment(kind, count if kind in ("time", "parent") else math.ceil(count))
        if kills - number <= len(LAST):
            moment = Moment("file", name=LAST[number - kills])
        status, where = begin(place, argv(jobs), moment if number < kills else NEVER)
        if status == 0:
            return number
        assert status == signal.SIGKILL, said(place)
        print(f"{place.name}, kill {number + 1} ({moment.kind} {moment.count:.3g}): {where}")
    raise AssertionError


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(os, "setsid"), reason="kills a process group")
@pytest.mark.parametrize(("jobs", "kills"), [(0, 13), (2, 7)], ids=["in process", "children"])
def test_an_experiment_that_is_killed_equals_an_undisturbed_one(
    folder: Path, undisturbed: dict[str, Any], begin: Nursery, jobs: int, kills: int
) -> None:
    draw = random.Random(f"seed {jobs}")
    for sweep in itertools.count():
        place = folder / f"jobs={jobs},{sweep}"
        kills -= killed_until_done(place, begin, jobs, draw, kills)
        print(f"{place.name} came to its end; {kills} kills are left")
        assert outcome(place) == undisturbed
        if not kills:
            break


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("jobs", [0, 2], ids=["in process", "children"])
def test_an_experiment_on_a_full_disk_goes_on_when_there_is_room(
    folder: Path, undisturbed: dict[str, Any], begin: Nursery, jobs: int
) -> None:
    place = folder / f"small,{jobs}"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    try:
        done = subprocess.run([*mount, "size=900k", "tmpfs", str(place)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.decode().strip()}")
    try:
        status, _ = begin(place, argv(jobs))
        assert os.waitstatus_to_exitcode(status) == 2
        last = said(place).splitlines()[-1]
        assert re.match(r"suexp: cannot write \S+: No space left on device; once there is", last)
        assert said(place).count("No space") == 1
        assert "Traceback" not in said(place)
        assert not list(place.rglob("*.part"))
        subprocess.run([*mount, "remount,size=50m", "tmpfs", str(place)], check=True)
        assert begin(place, argv(jobs))[0] == 0, said(place)
        assert outcome(place) == undisturbed
    finally:
        subprocess.run(["umount", str(place)], check=True)
