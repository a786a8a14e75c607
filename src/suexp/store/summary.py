"""How a run ended, as its summary.json says."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from suexp.store.numbers import dumps, read, told

NAME = "summary.json"
NUMBERS = ("metrics", "cost")


class Status(StrEnum):
    """How far a run has come; ``PRUNED`` and ``INTERRUPTED`` ones can go on."""

    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass
class Summary:
    """How a run ended.

    Attributes:
        folder: the run folder.
        id: the run's.
        status: how far it came.
        error: why it did not finish.
        mistake: whether the error is the user's, not a fault of the run.
        started: when, in UTC.
        seed: the run's.
        threads: of the processor.
        versions: of Python and the packages.
        commit: of suexp's checkout.
        dirty: whether that had changes in no commit.
        machine: processor, cores, system.
        fingerprint: of the data.
        rows: split -> its number of rows.
        metrics: final metrics by name.
        cost: parameters, parameters/trainable, flops_per_step (of all processes), flops (of all
            steps, its parents' included), wall_seconds, peak_memory_bytes, steps.
        sample: what the model writes.
        first_step_at: when training began, in seconds since 1970.
        crc32: file -> checksum, of the run's records.
    """

    folder: Path
    id: str
    status: Status = Status.FAILED
    error: str | None = None
    mistake: bool = False
    started: str | None = None
    seed: int | None = None
    threads: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    dirty: bool | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    sample: str | None = None
    first_step_at: float | None = None
    crc32: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Summary | None":
        """Return the summary in a run's folder, or None when it is missing or damaged."""
        try:
            found = json.loads((folder / NAME).read_bytes())
            if found.pop("seal") != _seal(found):
                return None
            known = {item.name for item in fields(cls)}
            found |= {key: read(found[key]) for key in NUMBERS if key in found}
            found = {key: value for key, value in found.items() if key in known}
            return cls(folder=folder, **{**found, "status": Status(found["status"])})
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def text(self) -> str:
        """Return it as its file has it, with a checksum of its own."""
        found = told({key: value for key, value in asdict(self).items() if key != "folder"})
        return dumps({**found, "seal": _seal(found)}, indent=1)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.status == Status.FINISHED

    @property
    def diverged_at(self) -> int | None:
        """The step at which it diverged, where that is its result."""
        return diverged_at(self.metrics)

    @property
    def well(self) -> bool:
        """Whether the run has come to its end, or to that which its study gave it."""
        return self.status in (Status.FINISHED, Status.PRUNED)

    @property
    def exit_code(self) -> int:
        """0 for a finished or pruned run, 2 for the user's mistake, 1 for any other fault."""
        return 0 if self.well else 2 if self.mistake else 1

    def history(self) -> list[dict[str, Any]]:
        """Return the metrics by step."""
        from suexp.store.folder import read_history

        return read_history(self.folder / "metrics.jsonl")


def diverged_at(metrics: Mapping[str, Any]) -> int | None:
    """Return the step at which a run diverged, where that is its result."""
    return int(metrics["train/diverged_at"]) if metrics.get("train/diverged") else None


def finals(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the final metrics of a run in results.json, and its costs as ``cost/...``."""
    costs = {f"cost/{name}": value for name, value in (run.get("cost") or {}).items()}
    return costs | dict(run.get("metrics") or {})


def _seal(found: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(found).encode())
