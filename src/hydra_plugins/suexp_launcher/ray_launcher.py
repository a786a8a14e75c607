"""Runs as tasks of a Ray cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.suexp_launcher._base import RunLauncher
from suexp.errors import UserError


@dataclass
class RayLauncherConf:
    """conf/hydra/launcher/ray: one task a run; workers share the output folder.

    ``address``: of a cluster (auto: the one that is running here); null: begin one on this machine.
    ``cpus``, ``gpus``: what a run takes of the cluster; ``retries``: how often a run whose worker
    died is begun again, where it goes on from its last checkpoint; ``init``: anything else for
    ray.init.
    """

    _target_: str = "hydra_plugins.suexp_launcher.ray_launcher.RayLauncher"
    address: str | None = None
    jobs: int = 100
    cpus: float = 1
    gpus: float = 0
    retries: int = 1
    init: dict[str, Any] = field(default_factory=dict)


class RayLauncher(RunLauncher):
    """A worker that dies touches no other run, and its run is resumed by another."""

    def __init__(
        self,
        address: str | None,
        jobs: int,
        cpus: float,
        gpus: float,
        retries: int,
        init: dict[str, Any],
    ) -> None:
        self.address, self.jobs, self.cpus, self.gpus = address, jobs, cpus, gpus
        self.retries, self.init = retries, init

    def run_all(self, batch: Sequence[Sequence[str]]) -> Sequence[Any]:
        """Hand all to the cluster, return when all have ended.

        Raises:
            UserError: Ray is not installed, or cannot be reached.
        """
        try:
            import ray
        except ImportError as error:
            raise UserError("hydra/launcher=ray needs ray: pip install 'suexp[launch]'") from error
        from suexp.launch.processes import run_elsewhere
        from suexp.launch.saved_config import save

        ours = not ray.is_initialized()
        if ours:
            options = {"include_dashboard": False, "log_to_driver": False, **self.init}
            try:
                ray.init(address=self.address, **options)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UserError(f"hydra/launcher=ray: {error}") from error

        # A run resumes by itself: Ray must not begin it again behind our back.
        @ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)
        def work(saved: Any) -> int:
            return int(saved())

        def begin(spec: Any) -> _Task:
            return _Task(ray, work.remote(save(spec)))

        threads = max(int(self.cpus), 1)
        try:
            return run_elsewhere(batch, self.jobs, threads, begin, self.retries)
        finally:
            if ours:
                ray.shutdown()


class _Task:
    """A task of Ray, with subprocess.Popen's verbs."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self.ray, self.reference = ray, reference

    def wait(self) -> int:
        try:
            return int(self.ray.get(self.reference))
        except self.ray.exceptions.RayError:
            return 1

    def terminate(self) -> None:
        self.ray.cancel(self.reference, force=False)


ConfigStore.instance().store(
    group="hydra/launcher", name="ray", node=RayLauncherConf, provider="suexp"
)
