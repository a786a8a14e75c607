"""The runs that an experiment's runs start from, and how long they took."""

from collections.abc import Iterable

from suexp.experiment.plan import Planned
from suexp.store.folder import Run


def before(runs: Iterable[Planned]) -> dict[str, float | None]:
    """Return the seconds of each run that has to be made before these and is none of them, by id.

    None: it has not ended. A parent's parents are among them; runs that share one have it once.
    """
    planned = {run.run.id: run.run.spec for run in runs}
    needed = {id_: spec for own in planned.values() for id_, spec in own.ancestors().items()}
    return {id_: _seconds(Run(needed[id_])) for id_ in sorted(needed.keys() - planned.keys())}


def _seconds(run: Run) -> float | None:
    summary = run.summary()
    if summary is None or not summary.finished:
        return None
    seconds: float | None = summary.cost.get("wall_seconds")
    return seconds
