"""Hydra's door to suexp's sweeps: arms x seeds of an experiment, or a plain sweep."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ExperimentSweeperConf:
    """conf/hydra/sweeper/suexp."""

    _target_: str = "hydra_plugins.suexp_sweeper.experiment_sweeper.ExperimentSweeper"


class ExperimentSweeper(Sweeper):
    """Plan the runs, give them to the launcher, and judge what came out of the store."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra hands over and build the launcher."""
        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run everything that the arguments ask for."""
        from suexp.runner.conduct import conduct

        assert self.launcher is not None
        if conduct(arguments, self.launcher):
            raise SystemExit(1)


ConfigStore.instance().store(
    group="hydra/sweeper", name="suexp", node=ExperimentSweeperConf, provider="suexp"
)
