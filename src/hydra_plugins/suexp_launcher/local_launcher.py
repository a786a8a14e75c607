"""Runs on this machine: in this process, or several at a time from a preloaded fork server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.suexp_launcher._returns import job_returns


@dataclass
class LocalLauncherConf:
    """conf/hydra/launcher/local.

    ``jobs``: runs at a time; 0: one after the other in this process; null: in this process at smoke
    scale or on a GPU, else one a core.
    """

    _target_: str = "hydra_plugins.suexp_launcher.local_launcher.LocalLauncher"
    jobs: int | None = None


class LocalLauncher(Launcher):
    """A run that fails or is killed does not touch the others (unless on_error=stop)."""

    def __init__(self, jobs: int | None) -> None:
        self.jobs = jobs

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Nothing to keep: a run is a function of its resolved config."""
        del hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        """Run all, return when all have ended."""
        from suexp.runner.local import run_all

        del initial_job_idx
        return job_returns(job_overrides, run_all(job_overrides, self.jobs))


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalLauncherConf, provider="suexp"
)
