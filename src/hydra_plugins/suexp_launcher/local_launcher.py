"""Runs on this machine: in this process, or several at a time from a preloaded fork server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.suexp_launcher._base import RunLauncher


@dataclass
class LocalLauncherConf:
    """conf/hydra/launcher/local.

    ``jobs``: runs at a time; 0: one after the other in this process; null: in this process at smoke
    scale or on a GPU, else one a core; ``retries``: how often a run whose process died is begun
    again, from its last checkpoint.
    """

    _target_: str = "hydra_plugins.suexp_launcher.local_launcher.LocalLauncher"
    jobs: int | None = None
    retries: int = 1


class LocalLauncher(RunLauncher):
    """A run that fails or is killed does not touch the others (unless on_error=stop)."""

    def __init__(self, jobs: int | None, retries: int = 1) -> None:
        self.jobs, self.retries = jobs, retries

    def at_a_time(self, config: dict[str, Any]) -> int:
        """Return how many runs like this one go on at a time."""
        from suexp.launch.processes import at_a_time

        return max(at_a_time(config) if self.jobs is None else self.jobs, 1)

    def run_all(self, batch: Sequence[Sequence[str]]) -> Sequence[Any]:
        """Run all, return when all have ended."""
        from suexp.launch.processes import run_all

        return run_all(batch, self.jobs, self.retries)


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalLauncherConf, provider="suexp"
)
