"""One trial of an Optuna study, as a process sees it that did not ask for it."""

import math
import warnings
from typing import Any

from suexp.errors import UserError
from suexp.store.folder import Run


def optuna() -> Any:
    """Return the library, which says what matters only.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("hydra/sweeper=optuna needs optuna: pip install 'suexp[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def pruner(kind: str, startup_trials: int, warmup_steps: int) -> Any:
    """Return a pruner.

    Args:
        kind: median, hyperband or none.
        startup_trials: trials that end before median prunes any.
        warmup_steps: steps of a run before it may be pruned.
    """
    pruners = optuna().pruners
    if kind == "median":
        return pruners.MedianPruner(startup_trials, warmup_steps)
    if kind == "hyperband":
        return pruners.HyperbandPruner(min_resource=max(warmup_steps, 1))
    return pruners.NopPruner()


class Trial:
    """A trial, to which a run's history is reported.

    Args:
        study: Optuna's study; its attribute ``asked`` names the metric.
        number: the trial's.
    """

    def __init__(self, study: Any, number: int) -> None:
        frozen = study.get_trials(deepcopy=False)[number]
        self.metric: str = study.user_attrs["asked"]["metric"]
        self.trial = optuna().trial.Trial(study, frozen._trial_id)
        self._known = {*frozen.intermediate_values}

    @classmethod
    def load(cls, name: str, storage: str, trial: int) -> "Trial":
        """Return a trial of a study that exists."""
        library = optuna()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The default sampler would look at all trials for nothing.
            sampler = library.samplers.RandomSampler()
            study = library.load_study(study_name=name, storage=storage, sampler=sampler)
            study.pruner = pruner(**study.user_attrs["pruner"])
        return cls(study, trial)

    def report(self, run: Run) -> None:
        """Report what the run has measured in training and the study does not know."""
        for line in run.history():
            step, value = line["step"], line.get(self.metric)
            if step > 0 and step not in self._known and _finite(value):
                self.trial.report(value, step)
                self._known.add(step)

    def should_prune(self) -> bool:
        """Ask whether the study has any hope for the run."""
        return bool(self.trial.should_prune())


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
