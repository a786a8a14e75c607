"""Hydra's door to suexp's sweeps: arms x seeds of an experiment, or a plain sweep."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.suexp_sweeper._base import RunSweeper


@dataclass
class ExperimentSweeperConf:
    """conf/hydra/sweeper/suexp."""

    _target_: str = "hydra_plugins.suexp_sweeper.experiment_sweeper.ExperimentSweeper"


class ExperimentSweeper(RunSweeper):
    """Plan the runs, give them to the launcher, and judge what came out of the store."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run everything that the arguments ask for."""
        from suexp.experiment.conduct import conduct

        assert self.launcher is not None
        if conduct(arguments, self.launcher):
            raise SystemExit(1)


ConfigStore.instance().store(
    group="hydra/sweeper", name="suexp", node=ExperimentSweeperConf, provider="suexp"
)
