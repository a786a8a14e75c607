"""The index of a store says what its folders say, and nothing depends on it."""

import json
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
import yaml

from suexp.store import index
from suexp.store.index import NAME, Entry, entries
from suexp.store.query import chosen, stored
from suexp.store.summary import Status, Summary


def put(out: Path, name: str, loss: float, **config: object) -> Path:
    folder = out / "runs" / name
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    label = {"experiment": "lion", "arm": name[:1]}
    text = yaml.safe_dump({"seed": 3, "run": label, "optimizer": {"lr": 1e-3}, **config})
    (folder / "config.yaml").write_text(text)
    metrics = {"val/loss": loss, "val/worst": float("inf")}
    summary = Summary(folder, name, Status.FINISHED, metrics=metrics, cost={"steps": 2})
    (folder / "summary.json").write_text(summary.text())
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for number in range(5):
        put(tmp_path, f"a{number}", number)
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep the names of the folders that are read."""
    names: list[str] = []
    read = Entry.read

    def counted(folder: Path) -> Entry:
        names.append(folder.name)
        return read(folder)

    monkeypatch.setattr(index.Entry, "read", counted)
    return names


def shown(out: Path) -> list[tuple[object, ...]]:
    return [
        (i.folder, i.seed, i.label, i.status, i.metrics, i.cost, i.size, i.config)
        for i in entries(out / "runs")
    ]


def test_it_says_what_the_folders_say(out: Path, reads: list[str]) -> None:
    first = shown(out)
    assert reads == ["a0", "a1", "a2", "a3", "a4"]
    assert shown(out) == first
    assert len(reads) == 5
    assert [run.entry.metrics["val/loss"] for run in chosen(stored(out), ["arm=a"])] == [*range(5)]
    assert first[0][4]["val/worst"] == float("inf")  # type: ignore[index]
    assert len(chosen(stored(out), ["optimizer.lr=1e-3", "seed=3"])) == 5
    assert len(reads) == 5


def test_what_has_changed_is_read_anew(out: Path, reads: list[str]) -> None:
    shown(out)
    reads.clear()
    put(out, "a1", 70.0)
    path = out / "runs" / "a2" / "config.yaml"
    state = path.stat()
    text = path.read_text().replace("seed: 3", "seed: 4")
    path.with_name("new").write_text(text)  # of the same size and time
    path.with_name("new").replace(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    shutil.rmtree(out / "runs" / "a3")
    put(out, "b9", 9.0)
    found = {row[0].name: row for row in shown(out)}  # type: ignore[attr-defined]
    assert reads == ["a1", "a2", "b9"]
    assert found["a1"][4] == {"val/loss": 70.0, "val/worst": float("inf")}
    assert found["a2"][7]["seed"] == found["a2"][1] == 4  # type: ignore[index]
    assert sorted(found) == ["a0", "a1", "a2", "a4", "b9"]
    base = sqlite3.connect(out / "runs" / NAME)
    assert {name for (name,) in base.execute("SELECT name FROM runs")} == {*found}
    base.close()


def test_a_run_that_goes_on_has_its_size(out: Path) -> None:
    folder = out / "runs" / "a0"
    (folder / "summary.json").unlink()
    (folder / "metrics.jsonl").write_text("{}\n")
    before = shown(out)[0][6]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("{}\n" * 100)
    assert shown(out)[0][6] == before + 300  # type: ignore[operator]


@pytest.mark.parametrize("damage", ["text", "empty", "version", "link", "cut"])
def test_nothing_depends_on_it(out: Path, reads: list[str], damage: str) -> None:
    first, path = shown(out), out / "runs" / NAME
    if damage == "text":
        path.write_bytes(b"no database" * 1000)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "version":
        base = sqlite3.connect(path)
        base.execute("PRAGMA user_version = 99")
        base.commit()
        base.close()
    else:
        path.unlink()
        (out / "elsewhere").write_text("mine")
        path.symlink_to(out / "elsewhere")
    for _ in range(3):
        assert shown(out) == first
    if damage == "link":
        assert (out / "elsewhere").read_text() == "mine"
    else:
        reads.clear()
        assert shown(out) == first
        assert reads == []


def test_a_store_that_nobody_may_write(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    assert len(shown(out)) == 5
    assert not (out / "runs" / NAME).exists()


def test_several_list_at_a_time(out: Path) -> None:
    found: list[list[tuple[object, ...]]] = []
    threads = [threading.Thread(target=lambda: found.append(shown(out))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 4
    assert len(found[0]) == 5


def test_its_config_is_that_of_the_file(out: Path) -> None:
    shown(out)
    (entry, *_) = entries(out / "runs")
    assert entry.config == yaml.safe_load((out / "runs" / "a0" / "config.yaml").read_text())
    assert json.loads(json.dumps(entry.config)) == entry.config
