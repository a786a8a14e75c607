"""What is tried next: a function of the seed, a trial's place and the trials before it."""

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from suexp.job.trial import optuna
from suexp.study.search import Search, Value


def proposals(study: Any, search: Search, sampler: str, seed: int) -> Iterator[dict[str, Value]]:
    """Give the points to try next, each as if those before it were under way.

    They are drawn in a copy of the study, each from a seed of its own: what was drawn and not yet
    written down when a process was killed is drawn again.

    Args:
        study: Optuna's study.
        search: the space.
        sampler: tpe, random or grid.
        seed: the sampler's.
    """
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]
    if sampler == "grid":
        made = [trial.params for trial in trials]
        yield from (point for point in search.grid() if point not in made)
        return
    library = optuna()
    copy = library.create_study(
        study_name=study.study_name, direction=study.direction, pruner=study.pruner
    )
    copy.add_trials(trials)
    space = {key: item.distribution() for key, item in search.space.items()}
    for place in itertools.count(len(trials)):
        own = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of its arguments are new
            if sampler == "tpe":
                # Trials under way count as bad ones, so that a batch spreads out.
                copy.sampler = library.samplers.TPESampler(seed=own, constant_liar=True)
            else:
                copy.sampler = library.samplers.RandomSampler(seed=own)
            point = copy.ask(space).params
        yield point
