"""A study: Optuna proposes values, the launcher makes the runs, the store says what came out."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from suexp.config.check import check_secrets
from suexp.config.overrides import quoted
from suexp.errors import UserError
from suexp.job.trial import Trial, optuna, pruner
from suexp.launch.spec import spec_of
from suexp.launch.watching import tell
from suexp.locks import acquired
from suexp.near import near
from suexp.redaction import secret_in
from suexp.store.folder import Run
from suexp.store.summary import Status, Summary
from suexp.study.proposals import proposals
from suexp.study.search import Search, parse

TPE_RANDOM = 10  # so many of TPE's first trials are random in Optuna, so a batch loses nothing


@dataclass(frozen=True)
class Settings:
    """The keys of hydra/sweeper=optuna; see `OptunaSweeperConf`.

    Raises:
        UserError: a value that means nothing.
    """

    study_name: str | None
    n_trials: int
    metric: str
    direction: str
    sampler: str
    seed: int
    n_jobs: int | None
    pruner: str
    startup_trials: int
    warmup_steps: int
    storage: str | None

    def __post_init__(self) -> None:
        for key, known in (
            ("direction", ("minimize", "maximize")),
            ("sampler", ("tpe", "random", "grid")),
            ("pruner", ("median", "hyperband", "none")),
        ):
            value = getattr(self, key)
            if value not in known:
                raise UserError(f"hydra.sweeper.{key}={value}: no such {key}{near(value, known)}")
        least = {"n_trials": 1, "n_jobs": 1, "startup_trials": 0, "warmup_steps": 0}
        for key, bound in least.items():
            value = getattr(self, key)
            if value is not None and value < bound:
                raise UserError(f"hydra.sweeper.{key}={value}: {bound} is the least")
        held = secret_in(self.storage or "")
        if held:
            raise UserError(
                f"hydra.sweeper.storage: the URL holds {held}, which every run's config.yaml "
                "would hold, too; leave it to the driver's own file or variable (~/.pgpass, say)"
            )

    def at_once(self, launcher: int) -> int:
        """Return how many trials to ask for at once, given how many runs go on at a time."""
        if self.n_jobs is not None:
            return self.n_jobs
        return min(launcher, TPE_RANDOM) if self.sampler == "tpe" else launcher


@dataclass
class Study:
    """What a command line searches, and Optuna's study of it.

    Attributes:
        search: the search space.
        settings: the sweeper's keys.
        out: the output folder.
        optuna: Optuna's study.
        url: of its storage.
    """

    search: Search
    settings: Settings
    out: Path
    name: str
    optuna: Any = field(init=False)
    url: str = field(init=False)

    @property
    def folder(self) -> Path:
        """Where study.json and the figure are written."""
        return self.out / "studies" / re.sub(r"[^\w.,=+-]", "_", self.name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study: two processes of one output folder would take each other's trials.

        Raises:
            UserError: another process holds it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = acquired(self.folder / ".lock", timeout=0)
        except Timeout as error:
            raise UserError(f"the study {self.name} is being run by another process") from error
        except OSError as error:
            raise UserError(
                f"cannot write to {self.folder}: {error.strerror}; choose a folder with out=DIR"
            ) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn the storage's errors into one line.

        Raises:
            UserError: it cannot be reached.
        """
        try:
            yield
        except optuna().exceptions.StorageInternalError as error:
            raise UserError(f"hydra.sweeper.storage={self.url}: {_first_line(error)}") from error

    def open(self) -> None:
        """Make the study or find it.

        Raises:
            UserError: the storage cannot be reached, or the study searches something else.
        """
        library = optuna()
        self.url = self.settings.storage or f"sqlite:///{self.folder}.db?timeout=60"
        try:
            self.optuna = library.create_study(
                study_name=self.name,
                storage=self.url,
                direction=self.settings.direction,
                load_if_exists=True,
            )
        except Exception as error:  # the database driver's, of whatever kind it is
            raise UserError(f"hydra.sweeper.storage={self.url}: {_first_line(error)}") from error
        asked = self._asked()
        before = self.optuna.user_attrs.get("asked", asked)
        differs = [key for key in asked if asked[key] != before.get(key)]
        # Under a misspelt metric nothing was told yet, and it can be mended.
        if differs and (differs != ["metric"] or any(t.value is not None for t in self.trials())):
            raise UserError(
                f"the study {self.name} had another {', '.join(differs)}; give this one another "
                "hydra.sweeper.study_name"
            )
        names = ("startup_trials", "warmup_steps")
        options = {name: getattr(self.settings, name) for name in names}
        self.optuna.set_user_attr("asked", asked)
        self.optuna.set_user_attr("pruner", {"kind": self.settings.pruner, **options})
        self.optuna.pruner = pruner(self.settings.pruner, **options)

    def _asked(self) -> dict[str, Any]:
        return self.search.asked(metric=self.settings.metric, direction=self.settings.direction)

    def trials(self) -> list[Any]:
        """Return Optuna's trials."""
        trials = self.optuna.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state.name != "WAITING"]

    def batch(self, width: int, total: int) -> list[Any]:
        """Return the next trials, none at the end; first those that a killed process left open.

        A batch is asked for as a whole before anything is told of it. So what was left open is the
        beginning of a batch, which is completed, unless something was told since: then it is what
        remains of one. The trials are those of a study that nobody has killed.
        """
        trials = self.trials()
        left = self._open(trials)
        begun = left[0].datetime_start if left else None
        if begun and any(t.datetime_complete and t.datetime_complete > begun for t in trials):
            return left
        self.ask(min(width - len(left), total - len(trials)))
        return self._open(self.trials())

    def _open(self, trials: list[Any]) -> list[Any]:
        """Return those begun from this output folder; another one's may be under way."""
        nobody = str(self.out) if self.settings.storage is None else None
        running = [trial for trial in trials if trial.state.name == "RUNNING"]
        return [t for t in running if t.user_attrs.get("out", nobody) == str(self.out)]

    def ask(self, count: int) -> None:
        """Begin so many trials, each at once with its values and its output folder."""
        library = optuna()
        asked = self.settings.sampler, self.settings.seed
        points = proposals(self.optuna, self.search, *asked)
        space = {key: item.distribution() for key, item in self.search.space.items()}
        for point in itertools.islice(points, max(count, 0)):
            trial = library.create_trial(
                state=library.trial.TrialState.RUNNING,
                params=point,
                distributions=space,
                user_attrs={"out": str(self.out)},
            )
            self.optuna.add_trial(trial)

    def total(self) -> int:
        """Return how many trials there are to make."""
        if self.settings.sampler != "grid":
            return self.settings.n_trials
        return sum(1 for _ in itertools.islice(self.search.grid(), self.settings.n_trials))

    def place(self, trial: Any) -> tuple[str, ...]:
        """Return the overrides that tell a run where it reports to."""
        name, url = quoted(self.name), quoted(self.url)
        return (f"study.name={name}", f"study.trial={trial.number}", f"study.storage={url}")

    def tell(self, number: int, run: Run) -> bool:
        """Tell what came out of a run; return whether that was anything good.

        Raises:
            UserError: it has finished without the metric.
        """
        states = optuna().trial.TrialState
        summary = run.summary() or Summary(run.folder, run.id, error="its process died")
        trial = Trial(self.optuna, number)
        trial.report(run)
        if summary.status == Status.PRUNED:
            self.optuna.tell(number, state=states.PRUNED)
            return True
        if not summary.finished:
            return self.fail(number, f"{summary.status}: {summary.error}")
        metrics = summary.metrics
        if trial.metric not in metrics:
            known = [name for name in metrics if name.startswith(("val/", "test/"))] or [*metrics]
            raise UserError(
                f"hydra.sweeper.metric={trial.metric}: run {run.id} has no such metric"
                f"{near(trial.metric, known)}"
            )
        value = metrics[trial.metric]
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return self.fail(number, f"its {trial.metric} is {value}")
        self.optuna.tell(number, value)
        return True

    def best(self) -> str:
        """Return the best value so far as the end of a sentence."""
        if not any(trial.state.name == "COMPLETE" for trial in self.trials()):
            return ""
        best = self.optuna.best_trial
        return f", best {self.settings.metric} {best.value:.4g} (trial {best.number})"

    def note(self, number: int, **facts: str) -> None:
        """Write something down about a trial."""
        trial = Trial(self.optuna, number).trial
        for name, fact in facts.items():
            trial.set_user_attr(name, fact)

    def fail(self, number: int, reason: str) -> bool:
        """Tell that nothing came out of a trial."""
        self.note(number, error=reason)
        self.optuna.tell(number, state=optuna().trial.TrialState.FAIL)
        return False


def conduct(arguments: Sequence[str], launcher: Any, settings: Settings, loader: Any = None) -> int:
    """Make trials until there are as many as were asked for; return how many of them failed.

    What came out is read from the store, and is reported also when Ctrl-C ended the study.

    Args:
        arguments: overrides; those that sweep are searched.
        launcher: a Hydra launcher, set up.
        settings: the sweeper's.
        loader: Hydra's config loader.

    Raises:
        UserError: what cannot be searched, a config that cannot work, a storage out of reach.
    """
    optuna()
    check_secrets(arguments, "the study's argument ")
    search = parse(arguments, loader)
    if settings.sampler == "grid":
        next(search.grid())
    base = search.check()
    identity = {"metric": settings.metric, "direction": settings.direction}
    name = settings.study_name or search.name(**identity)
    study = Study(search, settings, Path(base["out"]).absolute(), name)
    width = settings.at_once(launcher.at_a_time(base) if hasattr(launcher, "at_a_time") else 1)
    with study.held(), study.reached():
        study.open()
        try:
            total = study.total()
            while trials := study.batch(width, total):
                if not _make(study, launcher, trials):
                    break
                tell(f"{name}: {len(study.trials())} of {total} trials{study.best()}")
        finally:
            from suexp.study.report import write

            failed = write(study)
    return failed


def _make(study: Study, launcher: Any, trials: list[Any]) -> bool:
    """Make a batch of trials, told from the store where it has them; return whether to go on."""
    begun: list[tuple[int, Run]] = []
    jobs: dict[str, tuple[str, ...]] = {}
    good = True
    on_error = "continue"
    for trial in trials:
        overrides = study.search.overrides(trial.params)
        try:
            run = Run(spec_of(overrides))
        except UserError as error:
            tell(f"trial {trial.number} ({' '.join(overrides)}): {error}")
            good = study.fail(trial.number, str(error))
            continue
        study.note(trial.number, run=run.id)
        on_error = run.config["on_error"]
        begun.append((trial.number, run))
        if run.config["rerun"] or not run.finished:
            # Two of a batch may be one run.
            jobs.setdefault(run.id, (*overrides, *study.place(trial)))
    if jobs:
        launcher.launch([*jobs.values()], begun[0][0])
    for number, run in begun:
        good = study.tell(number, run) and good
    return good or on_error != "stop"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
