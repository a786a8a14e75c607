"""Hydra's door to hyper-parameter search by Optuna."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.suexp_sweeper._base import RunSweeper


@dataclass
class OptunaSweeperConf:
    """conf/hydra/sweeper/optuna.

    ``n_trials``: in all, so that the same command goes on where it stopped; ``metric``: of a run's
    summary, reported at each validation; ``direction``: minimize or maximize; ``sampler``: tpe,
    random or grid, with a ``seed``; ``pruner``: median (once ``startup_trials`` have ended),
    hyperband or none, for runs after ``warmup_steps``; ``study_name``: null: from what is searched;
    ``storage``: null: {out}/studies/<name>.db, or a database's URL; ``n_jobs``: trials asked for at
    once, the next ones when all of them have ended; null: as many as the launcher runs at a time
    (hydra.launcher.jobs), but not over 10 of tpe, which learns from batch to batch.
    """

    _target_: str = "hydra_plugins.suexp_sweeper.optuna_sweeper.OptunaSweeper"
    study_name: str | None = None
    n_trials: int = 20
    metric: str = "val/loss"
    direction: str = "minimize"
    sampler: str = "tpe"
    seed: int = 0
    n_jobs: int | None = None
    pruner: str = "median"
    startup_trials: int = 5
    warmup_steps: int = 0
    storage: str | None = None


class OptunaSweeper(RunSweeper):
    """Search for the best values of some overrides; each trial is an ordinary run."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def sweep(self, arguments: list[str]) -> Any:
        """Run trials until there are as many as were asked for."""
        from suexp.study.study import Settings, conduct

        assert self.launcher is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        if conduct(arguments, self.launcher, Settings(**self.settings), loader):
            raise SystemExit(1)


ConfigStore.instance().store(
    group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="suexp"
)
