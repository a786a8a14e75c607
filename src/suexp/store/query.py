"""What the run store holds: every run's config, state, metrics and size, read without torch."""

import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import Timeout

from suexp.errors import UserError
from suexp.locks import acquired, is_held
from suexp.near import near
from suexp.store.identity import Identity
from suexp.store.index import Entry, entries
from suexp.store.summary import Status, Summary

STATUSES = ("finished", "pruned", "failed", "running", "stopped")
# What a filter may name beside the keys of a config.
SHORT = {"experiment": "run.experiment", "arm": "run.arm", "study": "study.name"}


@dataclass(frozen=True)
class Stored:
    """One run's folder.

    Attributes:
        folder: where it is.
        known: what the store's index says of it; None: its files are read.
    """

    folder: Path
    known: Entry | None = None

    @property
    def id(self) -> str:
        """The run's signature."""
        return self.folder.name

    @property
    def entry(self) -> Entry:
        """What is listed of it."""
        return self.known or Entry.read(self.folder)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config; empty where none was written, or it is damaged."""
        return self.entry.config

    @functools.cached_property
    def begun(self) -> dict[str, Any]:
        """What the run depends on beside its config, and its threads; empty where damaged."""
        try:
            found = json.loads((self.folder / "begun.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def identity(self) -> Identity | None:
        """What the run depends on beside its config, where its files say so and fit its id."""
        try:
            found = Identity.from_json(self.begun["identity"])
            return found if found.name(self.config) == self.id else None
        except (LookupError, TypeError):
            return None

    @functools.cached_property
    def summary(self) -> Summary | None:
        """The run's summary; None until it has come to an end, or where it is damaged."""
        return Summary.read(self.folder)

    @functools.cached_property
    def status(self) -> str:
        """One of `STATUSES`; ``stopped`` and ``pruned`` runs can go on."""
        ended = Status(self.entry.status)
        if ended != Status.FINISHED and self.held:
            return "running"
        return "stopped" if ended == Status.INTERRUPTED else ended.value

    @property
    def held(self) -> bool:
        """Whether a process is running it now."""
        path = self.folder / ".lock"
        return path.exists() and is_held(path)

    @functools.cached_property
    def when(self) -> datetime:
        """When it began, or what is known of that: when its folder last changed."""
        if self.entry.started:
            return datetime.fromisoformat(self.entry.started)
        return datetime.fromtimestamp(self.folder.stat().st_mtime, UTC)

    def value(self, key: str) -> Any:
        """Return what stands in the config under a dotted key; KeyError where nothing does."""
        node: Any = self.config
        for part in SHORT.get(key, key).split("."):
            if not isinstance(node, dict):
                raise KeyError(key)
            node = node[part]
        return node

    def remove(self) -> None:
        """Delete the folder; of a link, the link.

        Raises:
            UserError: a process is running it, or it is another user's.
        """
        if self.folder.is_symlink():
            self.folder.unlink()  # what it leads to is no run of this store
            return
        try:
            lock = acquired(self.folder / ".lock", timeout=0)
            try:
                shutil.rmtree(self.folder)
            finally:
                lock.release()
        except Timeout as error:
            raise UserError(f"run {self.id} is being run; it is not removed") from error
        except OSError as error:
            raise UserError(f"run {self.id} cannot be removed: {error.strerror}") from error


def stored(out: Path) -> list[Stored]:
    """Return the runs below an output folder, the oldest first.

    Raises:
        UserError: there is no such store, or it is another user's, who lets nobody read it.
    """
    runs = out / "runs"
    try:
        if not runs.is_dir():
            raise UserError(f"{out}: there are no runs here; name the folder with --out DIR")
        found = [Stored(entry.folder, entry) for entry in entries(runs)]
        return sorted(found, key=lambda run: (run.when, run.id))
    except OSError as error:
        raise UserError(f"{out}: its runs cannot be read: {error.strerror}") from error


def chosen(runs: Sequence[Stored], words: Sequence[str]) -> list[Stored]:
    """Return the runs that all words hold for.

    A word is ``key=value`` of the config (``experiment`` and ``arm`` are those of the run's label),
    a status, or the beginning of an id.

    Raises:
        UserError: a word that means nothing in this store.
    """
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            runs = [run for run in having(runs, key) if _same(run.value(key), value)]
        elif word in STATUSES:
            runs = [run for run in runs if run.status == word]
        else:
            named = [run for run in runs if run.id.startswith(word)]
            if runs and not named:
                known = [*STATUSES, *(run.id for run in runs)]
                raise UserError(f"runs {word}: no run's id begins so{near(word, known)}")
            runs = named
    return list(runs)


def named(command: str, name: str, out: Path) -> Stored:
    """Return the one run that a name means: its id, the beginning of it, or its folder.

    Args:
        command: who asks, for the message.
        name: the name.
        out: the output folder whose runs it may be.

    Raises:
        UserError: there is none, or more than one.
    """
    if (Path(name) / "config.yaml").is_file():
        return Stored(Path(name).absolute())
    found = [item for item in stored(out) if item.id.startswith(name)]
    if len(found) != 1:
        known = "no run's id begins" if not found else f"{len(found)} runs' ids begin"
        raise UserError(f"{command} {name}: {known} so in {out}; see suexp runs --out {out}")
    return found[0]


def having(runs: Sequence[Stored], key: str) -> list[Stored]:
    """Return the runs whose config has a key.

    Raises:
        UserError: there are runs, but none has it.
    """
    found = []
    for run in runs:
        try:
            run.value(key)
        except KeyError:
            continue
        found.append(run)
    if runs and not found:
        known = {name for run in runs for name in _keys(run.config)}
        raise UserError(f"runs {key}: no run's config has this key{near(key, sorted(known))}")
    return found


def _keys(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _same(value: Any, text: str) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    if value is None or isinstance(value, bool):
        return text == {None: "null", True: "true", False: "false"}[value]
    return text == str(value)
