"""What every launcher hands back to a sweeper."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus


def job_returns(
    batch: Sequence[Sequence[str]], summaries: Sequence[dict[str, Any] | None]
) -> list[JobReturn]:
    """Return Hydra's records of runs, given their summaries."""
    returns = []
    for overrides, summary in zip(batch, summaries, strict=True):
        job = JobReturn(overrides=list(overrides))
        if summary is not None and summary["status"] == "finished":
            job.status, job.return_value = JobStatus.COMPLETED, summary
        else:
            reason = "its process died" if summary is None else summary["error"]
            job.status, job.return_value = JobStatus.FAILED, RuntimeError(reason)
        returns.append(job)
    return returns
