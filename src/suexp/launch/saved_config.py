"""A run that waits in its folder for another process, here or elsewhere, to take it."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suexp.errors import writing
from suexp.following import led
from suexp.store.folder import refuse_links
from suexp.store.spec import RunSpec


@dataclass
class SavedRun:
    """Runs a saved run when it is called, in this process; returns the exit code.

    Engines send it to their workers, which see the same output folder and the same suexp.

    Attributes:
        path: where the run is written down.
        allow: packages that the user allows (see `suexp.code.trust`).
        devices: whether the run wants processes of its own, as one on several devices does.
    """

    path: Path
    allow: Sequence[str]
    devices: bool

    @property
    def command(self) -> list[str]:
        """What runs it in a process of its own; Lightning starts others by the same words."""
        return [sys.executable, "-m", "suexp.launch.child", str(self.path), *self.allow]

    def __call__(self) -> int:
        """Run, resume or find it."""
        if self.devices:
            # Lightning starts the processes itself; by this name it leaves Slurm's tasks alone.
            env = {**led(), "SLURM_JOB_NAME": "interactive"}
            return subprocess.run(self.command, env=env, check=False).returncode
        from suexp.launch.child import main

        return main([str(self.path), *self.allow])

    def checkpoint(self) -> Any:
        """Go into the queue once more when time is up, to go on from the last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def save(spec: RunSpec) -> SavedRun:
    """Write a run down in its folder, beside what the run itself writes."""
    path = spec.folder / ".spec.json"
    with writing(path):
        spec.folder.mkdir(parents=True, exist_ok=True)
        refuse_links(spec.folder)
        spec.save(path)
    return SavedRun(path, spec.allow, spec.devices)
