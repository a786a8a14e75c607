"""A run that waits in its folder for another process, here or elsewhere, to take it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suexp.store.folder import Run
from suexp.store.signature import source_hash


@dataclass
class SavedRun:
    """Runs a saved config when it is called, in this process; returns the exit code.

    Engines send it to their workers, which see the same output folder and the same suexp.

    Attributes:
        config: the run's config.yaml.
        allow: packages that the user allows (see `suexp.code.trust`).
        source: hash of the source of the process that began the sweep.
        devices: whether the run wants processes of its own, as one on several devices does.
    """

    config: Path
    allow: list[str]
    source: str
    devices: bool

    @property
    def command(self) -> list[str]:
        """What runs it in a process of its own; Lightning starts others by the same words."""
        return [sys.executable, "-m", "suexp.launch.child", str(self.config), *self.allow]

    def __call__(self) -> int:
        """Run, resume or find it."""
        os.environ["SUEXP_SOURCE"] = self.source
        if self.devices:
            # Lightning starts the processes itself; by this name it leaves Slurm's tasks alone.
            env = {**os.environ, "SLURM_JOB_NAME": "interactive"}
            return subprocess.run(self.command, env=env, check=False).returncode
        from suexp.launch.child import main

        return main([str(self.config), *self.allow])

    def checkpoint(self) -> Any:
        """Go into the queue once more when time is up, to go on from the last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def save(config: dict[str, Any]) -> SavedRun:
    """Write a run's config into its folder."""
    from suexp.launch.processes import many_devices

    run = Run(config)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.start()
    path = run.folder / "config.yaml"
    return SavedRun(path, config["allow_targets"], source_hash(), many_devices(config))
