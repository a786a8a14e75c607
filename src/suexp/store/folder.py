"""The run store: one folder a run, named by the run's id."""

import json
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import Timeout

from suexp.errors import Unwritable, UserError, writing
from suexp.locks import acquired
from suexp.store.numbers import dumps, read
from suexp.store.spec import RunSpec, as_yaml
from suexp.store.summary import NAME, Summary

# What a result is taken from, or explained by.
RECORDS = ("config.yaml", "begun.json", "metrics.jsonl", "table.jsonl")
CHECKPOINT = re.compile(r"step=(0|[1-9][0-9]{0,17})\.ckpt")


class Run:
    """One run's folder: what is in `RECORDS`, summary.json, checkpoints/.

    config.yaml is the resolved config, begun.json what else the result depends on and the number of
    threads, metrics.jsonl the metrics by step, table.jsonl the rows that the task recorded.
    """

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.config, self.id, self.folder = spec.config, spec.id, spec.folder

    @contextmanager
    def lock(self, note: Any = print) -> Iterator[None]:
        """Hold the run; while another process holds it, say so once and wait.

        What a process that was killed left half-written is removed. The lock itself dies with its
        process.

        Raises:
            Unwritable: the output folder cannot be written.
            UserError: it, or what it holds, is a link that leads elsewhere.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            refuse_links(self.folder)
            path = self.folder / ".lock"
            try:
                lock = acquired(path, timeout=0)
            except Timeout:
                note(f"run {self.id} is being run by another process; waiting for it")
                lock = acquired(path)
        except OSError as error:
            raise Unwritable(
                f"cannot write to {self.folder}: {error.strerror}; choose a folder with out=DIR"
            ) from error
        try:
            for path in self.folder.rglob("*.part"):
                path.unlink()
            yield
        finally:
            lock.release()

    def summary(self) -> Summary | None:
        """Return summary.json, or None when it is missing or damaged."""
        return Summary.read(self.folder)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end, and its files are as it left them."""
        return self.holds(self.summary())

    def holds(self, summary: Summary | None) -> bool:
        """Tell whether a summary of this run's is that of a finished run with these files."""
        return summary is not None and summary.finished and summary.crc32 == self._checksums()

    @property
    def already(self) -> str:
        """What the user is told of a run that is finished."""
        return f"run {self.id} is finished already: {self.folder} (rerun=true runs it again)"

    def start(self, threads: int) -> None:
        """Write down what is being run, and with how many threads."""
        begun = {"threads": threads, "identity": self.spec.identity.as_json()}
        write_atomic(self.folder / "config.yaml", as_yaml(self.config))
        write_atomic(self.folder / "begun.json", json.dumps(begun, indent=1))

    def threads(self) -> int | None:
        """Return with how many threads the run began that has a checkpoint to go on from.

        Other numbers of threads give other last bits: it goes on with its own.
        """
        try:
            threads = json.loads((self.folder / "begun.json").read_bytes())["threads"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return threads if isinstance(threads, int) and self.checkpoints() else None

    def finish(self, summary: Summary) -> None:
        """Write the summary, which ends the run, with checksums of its files and its own."""
        summary.crc32 = self._checksums()
        write_atomic(self.folder / NAME, summary.text())

    def _checksums(self) -> dict[str, int]:
        paths = (self.folder / name for name in RECORDS)
        return {path.name: zlib.crc32(path.read_bytes()) for path in paths if path.is_file()}

    def begin_anew(self) -> None:
        """Forget the metrics of a part that left nothing to go on from."""
        (self.folder / "metrics.jsonl").unlink(missing_ok=True)

    def forget_end(self) -> None:
        """Remove what an earlier part wrote at its end; a process that dies must not seem to."""
        for name in ("summary.json", "table.jsonl"):
            (self.folder / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything that the run has left behind."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith("."):  # the lock, and what another process waits for
                path.unlink()

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        return checkpoints_in(self.folder / "checkpoints")

    def history(self) -> list[dict[str, Any]]:
        """Return the metrics by step, ascending."""
        return read_history(self.folder / "metrics.jsonl")

    def write_table(self, rows: list[dict[str, Any]]) -> None:
        """Write the long-form rows that a task recorded."""
        if rows:
            text = "".join(dumps(row) + "\n" for row in rows)
            write_atomic(self.folder / "table.jsonl", text)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the long-form tables that the task recorded."""
        tables: dict[str, list[dict[str, Any]]] = {}
        for row in _lines(self.folder / "table.jsonl"):
            tables.setdefault(row.pop("table"), []).append(row)
        return tables


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, newest first; other files there are not a run's own."""
    found = {path: CHECKPOINT.fullmatch(path.name) for path in folder.glob("step=*.ckpt")}
    steps = {path: int(name[1]) for path, name in found.items() if name and path.is_file()}
    return sorted(steps, key=steps.__getitem__, reverse=True)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the metrics of a metrics.jsonl by step; what a resumed run wrote again counts once."""
    steps: dict[int, dict[str, Any]] = {}
    for line in _lines(path):
        steps.setdefault(line["step"], {}).update(line)
    return [steps[step] for step in sorted(steps)]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Give the JSON objects of a file; a line that a dying process left half-written is skipped."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield read(found)


def refuse_links(folder: Path) -> None:
    """Refuse a folder of ours that is a link, or that holds one; it would be written through.

    Raises:
        UserError: the link; an output folder that was unpacked may hold any.
    """
    for path in (folder, *folder.iterdir()):
        if path.is_symlink():
            raise UserError(f"{path} is a link, and suexp makes none; remove it: unlink {path}")


def write_atomic(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: it cannot be written; see `suexp.errors.writing`.
    """
    write_whole(path, text.encode())


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write bytes as `write_atomic` does text."""
    temporary = path.with_name(path.name + ".part")
    with writing(path):
        if temporary.is_symlink():  # one that was put there would have another file overwritten
            temporary.unlink()
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
