"""What run folders hold, kept in one file, so that thousands of them are listed at once."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import yaml

from suexp.store.summary import Status, Summary

NAME = "index.sqlite"
_VERSION = 1  # of what a row holds
_SHOWN = ("seed", "label", "status", "error", "started", "metrics", "cost", "size")


@dataclass(frozen=True)
class Entry:
    """What is listed of a run.

    Attributes:
        folder: the run's.
        seed: the config's.
        label: the config's ``run``: experiment, arm.
        status: how it ended; interrupted where nothing says.
        error: why it did not finish.
        started: when, in UTC.
        metrics: the final ones.
        cost: what it cost.
        size: bytes on disk.
        text: gives the config as JSON where the index knows it.
    """

    folder: Path
    seed: int | None = None
    label: dict[str, Any] = field(default_factory=dict)
    status: str = Status.INTERRUPTED.value
    error: str | None = None
    started: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    text: Callable[[], str | None] = lambda: None

    @classmethod
    def read(cls, folder: Path) -> "Entry":
        """Return what a run's files say; nothing where they are missing or damaged."""
        summary = Summary.read(folder)
        found: dict[str, Any] = {}
        if summary is not None:
            names = ("error", "started", "metrics", "cost")
            found = {"status": summary.status.value, **{i: getattr(summary, i) for i in names}}
        config = _config(folder)
        label = config.get("run")
        text = json.dumps(config, default=str)
        return cls(
            folder,
            config.get("seed"),
            label if isinstance(label, dict) else {},
            size=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            text=lambda: text,
            **found,
        )

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config; empty where none was written, or it is damaged."""
        text = self.text()
        found: dict[str, Any] = _config(self.folder) if text is None else json.loads(text)
        return found


class _Configs:
    """The configs of a store's index, read together once one is asked for."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs

    @cached_property
    def all(self) -> dict[str, str]:
        return dict(_rows(self.runs, "name, config"))

    def text(self, name: str) -> str | None:
        return self.all.get(name)


def entries(runs: Path) -> Iterator[Entry]:
    """Give an entry for each run below a folder, read anew where its files have changed.

    The index is a memory: without it, or where it is damaged or nobody may write it, all is read
    from the folders. Several processes may write it; what one of them loses is read again.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(runs) as found:
        names = sorted(item.name for item in found if item.is_dir())
    known = {name: (stamp, shown) for name, stamp, shown in _rows(runs, "name, stamp, shown")}
    configs = _Configs(runs)
    fresh = []
    for name in names:
        stamp = _stamp(f"{runs}/{name}")
        then, listed = known.pop(name, ("", ""))
        if then == stamp:
            shown = dict(zip(_SHOWN, json.loads(listed), strict=True))
            yield Entry(runs / name, text=partial(configs.text, name), **shown)
            continue
        entry = Entry.read(runs / name)
        listed = json.dumps([getattr(entry, key) for key in _SHOWN], default=str)
        fresh.append((name, stamp, listed, entry.text()))
        yield entry
    if fresh or known:
        _write(runs, fresh, [(name,) for name in known])


def _config(folder: Path) -> dict[str, Any]:
    try:
        text = (folder / "config.yaml").read_bytes()
        found = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(folder: str) -> str:
    """Return what changes with a run's files; while it has no summary, with its metrics, too."""
    parts = [_state(f"{folder}/{name}") for name in ("config.yaml", "summary.json", "checkpoints")]
    return " ".join(parts if parts[1] else [*parts, _state(f"{folder}/metrics.jsonl")])


def _state(path: str) -> str:
    try:
        state = os.stat(path)  # noqa: PTH116  (a Path costs more than the call)
    except OSError:
        return ""
    return f"{state.st_mtime_ns}.{state.st_size}.{state.st_ino}"


def _rows(runs: Path, columns: str) -> list[Any]:
    path = runs / NAME
    if not path.is_file() or path.is_symlink():
        return []
    try:
        base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(base):
            if base.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                return []
            return base.execute(f"SELECT {columns} FROM runs").fetchall()
    except sqlite3.Error:
        return []


def _write(runs: Path, fresh: list[tuple[Any, ...]], gone: list[tuple[str]]) -> None:
    path = runs / NAME
    if path.is_symlink():
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=2)) as base, base:
            if base.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                base.execute("DROP TABLE IF EXISTS runs")
                base.execute("CREATE TABLE runs (name TEXT PRIMARY KEY, stamp, shown, config)")
                base.execute(f"PRAGMA user_version = {_VERSION}")
            base.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", fresh)
            base.executemany("DELETE FROM runs WHERE name = ?", gone)
    except sqlite3.OperationalError:
        pass  # it is locked, full or another user's: another time
    except sqlite3.DatabaseError:
        with contextlib.suppress(OSError):
            path.unlink()  # it is no database
