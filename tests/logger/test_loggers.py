import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suexp.errors import UserError
from suexp.logger import Wandb
from suexp.runner.compose import resolve
from suexp.runner.job import execute
from suexp.runner.store import Run
from tests.runner.tiny import tiny


def finished(overrides: list[str]) -> Run:
    config = resolve(overrides).config
    summary = execute(config)
    assert summary["status"] == "finished", summary["error"]
    return Run(config)


def test_csv_and_tensorboard_hold_what_the_record_holds(tmp_path: Path) -> None:
    run = finished(tiny(tmp_path, "logger=[csv,tensorboard]"))
    expected = {line["step"]: line["val/loss"] for line in run.history() if "val/loss" in line}
    with (run.folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    assert {int(row["step"]): float(row["val/loss"]) for row in rows} == pytest.approx(expected)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    scalars = {event.step: event.value for event in events.Scalars("val/loss")}
    assert scalars == pytest.approx(expected)


@pytest.mark.slow
def test_wandb_writes_an_offline_run_and_asks_nothing(tmp_path: Path) -> None:
    overrides = tiny(tmp_path, "logger=wandb", "run.experiment=lion", "run.arm=adamw")
    run = finished(overrides)
    files = list(run.folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert [path.stem for path in files] == [f"run-{run.id}"]
    command = [
        str(Path(sys.executable).parent / "wandb"),
        "leet",
        "inspect",
        "--json",
        str(files[0]),
    ]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        pytest.skip(f"this wandb cannot read offline runs: {done.stderr.strip()[:100]}")
    assert "val/loss" in done.stdout
    assert "lion" in done.stdout


def test_wandb_online_without_a_key_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"mode=online needs a key"):
        Wandb(tmp_path, mode="online", name="n", id="i")


def test_no_secret_reaches_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "planted" + "0" * 33)
    monkeypatch.setenv("HF_TOKEN", "planted-token")
    run = finished(tiny(tmp_path, "logger=csv"))
    for path in run.folder.rglob("*"):
        if path.is_file():
            assert b"planted" not in path.read_bytes(), path
    assert json.loads((run.folder / "summary.json").read_text())["status"] == "finished"
    assert os.environ["HF_TOKEN"] == "planted-token"
