"""What the run store lists, filters and removes; a run repeated from its folder."""

import io
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from suexp.cli import differing, rerunning, runs
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.query import Stored, chosen, stored
from suexp.store.summary import Status, Summary
from tests.support.tiny import tiny

NOW = datetime.now(UTC)


def put(out: Path, name: str, arm: str, status: str | None, loss: float | None = None) -> Path:
    folder = out / "runs" / name
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "step=3.ckpt").write_bytes(b"0" * 1000)
    config = {
        "seed": len(list(folder.parent.iterdir())) - 1,
        "optimizer": {"lr": 1e-3, "decoupled": True},
        "run": {"experiment": "lion", "arm": arm},
        "scheduler": None,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    if status:
        summary = Summary(
            folder,
            name,
            Status(status),
            error="loss is NaN" if status == "failed" else None,
            started=(NOW - timedelta(days=config["seed"])).isoformat(),  # type: ignore[operator]
            metrics={} if loss is None else {"train/loss": 9.0, "val/loss": loss},
            cost={"steps": 3, "wall_seconds": 65.0},
        )
        (folder / "summary.json").write_text(summary.text(), encoding="utf-8")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    put(tmp_path, "aa11", "adamw", "finished", 2.5)
    put(tmp_path, "ab22", "lion", "finished", 2.0)
    put(tmp_path, "bc33", "lion", "failed")
    stopped = put(tmp_path, "cd44", "adamw", None)
    (stopped / "summary.json").write_text('{"status": "fini', encoding="utf-8")  # half-written
    return tmp_path


def ids(items: list[Stored]) -> list[str]:
    return sorted(item.id for item in items)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ["aa11", "ab22", "bc33", "cd44"]),
        (["finished"], ["aa11", "ab22"]),
        (["stopped"], ["cd44"]),
        (["arm=lion"], ["ab22", "bc33"]),
        (["arm=lion", "failed"], ["bc33"]),
        (["seed=1"], ["ab22"]),
        (["optimizer.lr=0.001", "experiment=lion"], ["aa11", "ab22", "bc33", "cd44"]),
        (["optimizer.lr=1e-2"], []),
        (["optimizer.decoupled=true", "scheduler=null"], ["aa11", "ab22", "bc33", "cd44"]),
        (["a"], ["aa11", "ab22"]),
    ],
)
def test_words_choose(out: Path, words: list[str], wanted: list[str]) -> None:
    assert ids(chosen(stored(out), words)) == wanted


def test_a_held_run_is_running(out: Path) -> None:
    with FileLock(out / "runs" / "cd44" / ".lock"):
        assert ids(chosen(stored(out), ["running"])) == ["cd44"]
        assert runs.run(["--out", str(out), "cd", "--prune", "--yes"]) == 0
        with pytest.raises(UserError, match="being run"):
            Stored(out / "runs" / "cd44").remove()
    assert (out / "runs" / "cd44" / "checkpoints").is_dir()


def test_the_list(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.run(["--out", str(out), "--sort", "val/loss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["ab22", "aa11"]
    assert "lion lion" in lines[0]
    assert "val/loss 2 " in lines[0]
    assert "1 min 5 s" in lines[0]
    assert any("loss is NaN" in line for line in lines)
    assert lines[-1].startswith("4 runs (2 finished, ")


def test_the_list_for_machines(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.run(["--out", str(out), "--json", "finished", "--metric", "train/loss"])
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [(row["id"], row["value"], row["seed"]) for row in rows] == [
        ("ab22", 9.0, 1),
        ("aa11", 9.0, 0),
    ]
    assert min(row["bytes"] for row in rows) > 1000


def test_removing_needs_to_be_told_which_and_agreed_to(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="say which"):
        runs.run(["--out", str(out), "--prune"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(UserError, match="1 run would go; add --yes"):
        runs.run(["--out", str(out), "--prune", "failed"])
    assert len(stored(out)) == 4
    assert runs.run(["--out", str(out), "--prune", "--yes", "failed"]) == 0
    assert runs.run(["--out", str(out), "--prune", "--yes", "--older", "12h", "finished"]) == 0
    assert ids(stored(out)) == ["aa11", "cd44"]
    assert "removed 1 run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["optimiser.lr=1"], "no run's config has this key; did you mean optimizer.lr?"),
        (["finishd"], "did you mean finished?"),
        (["--sort", "val/los"], "no run has a metric val/los; did you mean val/loss?"),
        (["--older", "3w"], "say 90m, 12h or 30d"),
    ],
)
def test_mistakes_are_one_line(out: Path, argv: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        runs.run(["--out", str(out), *argv])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_user_s_store_that_nobody_may_read(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", forbidden)
    with pytest.raises(UserError, match=r": its runs cannot be read: Permission denied$"):
        stored(out)


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs here"):
        runs.run(["--out", str(tmp_path)])


def test_a_run_is_repeated_bit_for_bit_and_a_changed_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = spec_of(tiny(tmp_path, "trainer.max_steps=4", "trainer.val_check_interval=2"))
    execute(config)
    run = Run(config)
    assert rerunning.run([run.id[:6], "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "bit for bit" in text
    assert (tmp_path / "reruns" / "runs" / run.id / "summary.json").is_file()
    summary = run.summary()
    assert summary is not None
    true = summary.metrics["val/loss"]
    summary.metrics["val/loss"] = true * (1 + 1e-3)
    summary.versions["torch"] = "1.0"
    (run.folder / "summary.json").write_text(summary.text(), encoding="utf-8")
    assert rerunning.run([str(run.folder)]) == 1
    text = capsys.readouterr().out
    assert "torch was 1.0" in text
    assert "1 of" in text
    assert rerunning.run([str(run.folder), "--tolerance", "0.01"]) == 0


def test_differences() -> None:
    then = {"val/loss": 2.0, "gone": 1.0, "nan": float("nan"), "train/elements_per_second": 5.0}
    rows = rerunning.compare(then, {"val/loss": 1.0, "nan": float("nan"), "new": 3})
    assert {name: gap for name, _, _, gap in rows} == {
        "val/loss": 0.5,
        "gone": float("inf"),
        "nan": 0.0,
        "new": float("inf"),
    }


def test_only_one_finished_run_is_repeated(out: Path) -> None:
    with pytest.raises(UserError, match="2 runs' ids begin"):
        rerunning.find("a", out)
    with pytest.raises(UserError, match="it is failed"):
        rerunning.find("bc", out)
    with pytest.raises(UserError, match="no run's id begins"):
        rerunning.find("zz", out)


def test_another_user_s_run_is_not_removed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("suexp.store.query.acquired", refuse)
    with pytest.raises(UserError, match=r"^run bc33 cannot be removed: Permission denied$"):
        runs.run(["--out", str(out), "failed", "--prune", "--yes"])
    assert (out / "runs" / "bc33" / "config.yaml").exists()


@pytest.mark.slow
def test_pruning_beside_a_run_that_trains(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = ("trainer.max_steps=100", "trainer.checkpoint_seconds=0")
    run, codes = Run(spec_of(tiny(out, *steps))), []

    def prune() -> None:
        while not run.finished:
            if run.checkpoints():
                codes.append(runs.run(["--out", str(out), run.id, "--prune", "--yes"]))
                return

    pruner = threading.Thread(target=prune)
    pruner.start()
    summary = execute(run.spec)
    pruner.join()
    assert codes == [0]
    assert "nothing to remove" in capsys.readouterr().out
    assert run.finished
    alone = execute(spec_of(tiny(out / "alone", *steps)))
    assert summary.metrics["val/loss"] == alone.metrics["val/loss"]


def test_groups_have_a_row_for_each_value(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(out, "de55", "lion", "finished", 3.0)
    assert runs.run(["--out", str(out), "--group", "arm"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "arm    runs  metric    mean  deviation  least  most",
        "lion   3     val/loss  2.5   0.7071     2      3",
        "adamw  2     val/loss  2.5   –          2.5    2.5",
    ]
    assert runs.run(["--out", str(out), "arm=lion", "--group", "seed", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["seed"], row["runs"], row["mean"]) for row in rows] == [
        ("4", 1, 3.0),
        ("2", 1, None),
        ("1", 1, 2.0),
    ]
    with pytest.raises(UserError, match=r"runs optimizer.rate: no run's config has this key"):
        runs.run(["--out", str(out), "--group", "optimizer.rate"])


def test_a_difference_is_what_differs(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = out / "runs" / "ab22" / "config.yaml"
    changed = yaml.safe_load(config.read_text())
    changed["optimizer"] = {"lr": 3e-4, "decoupled": True, "betas": [0.9, 0.99]}
    config.write_text(yaml.safe_dump(changed))
    assert differing.run(["aa", "ab22", "--out", str(out)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "                 aa11  ab22        difference",
        "optimizer.betas  -     [0.9,0.99]",
        "optimizer.lr     1e-3  3e-4",
        "seed             0     1",
        "val/loss         2.5   2           -0.5",
    ]
    folder = str(out / "runs" / "aa11")
    assert differing.run([folder, "aa11", "--out", str(out)]) == 0
    assert capsys.readouterr().out == "aa11 and aa11 do not differ\n"
    assert differing.run(["aa11", "ab22", "--out", str(out), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["metrics"] == {"val/loss": [2.5, 2.0]}
    with pytest.raises(UserError, match="diff a: 2 runs' ids begin so"):
        differing.run(["a", "ab22", "--out", str(out)])


def test_a_difference_of_real_runs_names_the_code(tmp_path: Path) -> None:
    specs = [spec_of(tiny(tmp_path, f"seed={seed}", "model.dim=32")) for seed in (0, 1)]
    for spec in specs:
        spec.folder.mkdir(parents=True)
        Run(spec).start(1)
    first, second = (Stored(spec.folder) for spec in specs)
    assert differing.code(first, second) == []
    assert dict(differing.settings(first.config, second.config)) == {"seed": (0, 1)}
