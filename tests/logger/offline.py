"""wandb's own reader of offline runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class Offline:
    """What an offline run's file holds.

    Attributes:
        run: the record that began it: id, project, group, job type, name, tags, config, commit.
        history: step -> metrics.
        summary: name -> value.
        exit_code: None for a run that was killed.
    """

    def __init__(self, file: Path) -> None:
        program = Path(sys.executable).parent / "wandb"
        command = [program, "leet", "inspect", "--json", file]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        self.text = done.stdout
        records = [json.loads(line) for line in done.stdout.splitlines()]
        self.run = next(record["run"] for record in records if record["type"] == "run")
        self.history: dict[int, dict[str, Any]] = {}
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        for record in records:
            if record["type"] == "history":
                step = record["history"]["step"]["num"]
                assert step not in self.history
                self.history[step] = _own(record["history"]["item"])
            elif record["type"] == "summary":
                self.summary |= _own(record["summary"]["update"])
            elif record["type"] == "exit":
                self.exit_code = record["exit"]["exit_code"]

    @property
    def config(self) -> dict[str, Any]:
        """The config, without wandb's own part."""
        return _own(self.run["config"]["update"])


def offline(folder: Path) -> list[Offline]:
    """Read the offline runs that a folder holds, in the order of their beginning."""
    return [Offline(file) for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]


def _own(items: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in items.items() if not name.startswith("_")}
