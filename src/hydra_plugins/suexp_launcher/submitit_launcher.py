"""Runs as jobs of a Slurm cluster, or of this machine as if it were one, by submitit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.suexp_launcher._base import RunLauncher
from suexp.errors import UserError


@dataclass
class SubmititLauncherConf:
    """conf/hydra/launcher/submitit_slurm: one job a run.

    ``jobs``: runs in the queue at a time; ``cpus``, ``gpus``, ``mem_gb``, ``timeout_min``: of each;
    ``retries``: how often a run whose job died is put into the queue again, where it goes on from
    its last checkpoint; ``folder``: submitit's files; ``parameters``: anything else that
    submitit.AutoExecutor takes, such as slurm_partition or slurm_account.
    """

    _target_: str = "hydra_plugins.suexp_launcher.submitit_launcher.SubmititLauncher"
    cluster: str = "slurm"
    jobs: int = 100
    cpus: int = 1
    gpus: int = 0
    mem_gb: float | None = None
    timeout_min: int = 240
    retries: int = 1
    folder: str = "outputs/.submitit"
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class SubmititLocalLauncherConf(SubmititLauncherConf):
    """conf/hydra/launcher/submitit_local: the same as processes of this machine."""

    cluster: str = "local"
    jobs: int = 2


class SubmititLauncher(RunLauncher):
    """A job that dies touches no other, and its run is resumed by the next one."""

    def __init__(self, cluster: str, jobs: int, cpus: int, retries: int, **rest: Any) -> None:
        self.cluster, self.jobs, self.cpus, self.retries = cluster, jobs, cpus, retries
        self.rest = rest

    def run_all(self, batch: Sequence[Sequence[str]]) -> Sequence[Any]:
        """Submit all, return when all have ended.

        Raises:
            UserError: submitit is not installed, or refuses its parameters.
        """
        try:
            import submitit
        except ImportError as error:
            raise UserError(
                "hydra/launcher=submitit needs submitit: pip install 'suexp[launch]'"
            ) from error
        from suexp.launch.processes import run_elsewhere
        from suexp.launch.saved_config import save

        rest = dict(self.rest)
        folder, extra = Path(rest.pop("folder")).absolute(), rest.pop("parameters")
        try:
            executor = submitit.AutoExecutor(folder / "%j", cluster=self.cluster)
            executor.update_parameters(
                name="suexp",
                cpus_per_task=self.cpus,
                gpus_per_node=rest["gpus"],
                timeout_min=rest["timeout_min"],
                **({} if rest["mem_gb"] is None else {"mem_gb": rest["mem_gb"]}),
                **extra,
            )
        except (RuntimeError, NameError, ValueError, TypeError) as error:
            raise UserError(f"hydra/launcher=submitit_{self.cluster}: {error}") from error

        def begin(spec: Any) -> _Submitted:
            return _Submitted(executor.submit(save(spec)))

        return run_elsewhere(batch, self.jobs, self.cpus, begin, self.retries)


class _Submitted:
    """A job of submitit, with subprocess.Popen's verbs."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def wait(self) -> int:
        from submitit.core.utils import UncompletedJobError

        try:
            return int(self.job.result())
        except UncompletedJobError:  # also FailedJobError, a kind of it
            return 1

    def terminate(self) -> None:
        self.job.cancel(check=False)


_STORE = ConfigStore.instance()
_STORE.store("submitit_slurm", SubmititLauncherConf, group="hydra/launcher", provider="suexp")
_STORE.store("submitit_local", SubmititLocalLauncherConf, group="hydra/launcher", provider="suexp")
