"""What all launchers share: nothing to set up, and what they hand back to a sweeper."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RunLauncher(Launcher):
    """Launches runs, each of which is a function of its resolved config."""

    jobs: Any  # runs at a time

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Nothing to keep: a run is a function of its resolved config."""
        del hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        """Run all, return when all have ended."""
        del initial_job_idx
        return job_returns(job_overrides, self.run_all(job_overrides))

    def at_a_time(self, config: dict[str, Any]) -> int:
        """Return how many runs like this one go on at a time."""
        del config
        return max(self.jobs, 1)

    def run_all(self, batch: Sequence[Sequence[str]]) -> Sequence[Any]:
        """Run each list of overrides; return the summaries (None: it never wrote one)."""
        raise NotImplementedError


def job_returns(batch: Sequence[Sequence[str]], summaries: Sequence[Any]) -> list[JobReturn]:
    """Return Hydra's records of runs, given their summaries."""
    returns = []
    for overrides, summary in zip(batch, summaries, strict=True):
        job = JobReturn(overrides=list(overrides))
        if summary is not None and summary.well:
            job.status, job.return_value = JobStatus.COMPLETED, summary
        else:
            reason = "its process died" if summary is None else summary.error
            job.status, job.return_value = JobStatus.FAILED, RuntimeError(reason)
        returns.append(job)
    return returns
