"""From a command line to runs: arms, seeds, tuned values, and sweeps of the user's own."""

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf

from suexp.config import hydra_internals
from suexp.config.catalogue import ARM_KEYS, EXPERIMENT_KEYS, Catalogue, Option
from suexp.config.check import catalogue_of, check_secrets
from suexp.config.compose import _compose, _told, resolve
from suexp.config.explain import explain
from suexp.config.file_rights import refuse_typed
from suexp.config.overrides import as_typed, key_of
from suexp.config.own import check_own
from suexp.errors import UserError
from suexp.experiment.adding import Added, recorded
from suexp.experiment.tuning import Point, beyond, held_out, name_of, setting
from suexp.folders import conf_dir
from suexp.judge.looks import Seeding
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.identity import volatile


@dataclass(frozen=True)
class Planned:
    """One run to make: its overrides, and its place in an experiment."""

    overrides: tuple[str, ...]
    arm: str | None
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return resolve(self.overrides).config

    @functools.cached_property
    def run(self) -> Run:
        """The run's place in the store."""
        return Run(spec_of(self.overrides))


@dataclass(frozen=True)
class Plan:
    """The runs of one experiment, or of a plain sweep (then ``header`` is None).

    Attributes:
        user: the user's own overrides of the runs.
        typed: these and what the user asked of the experiment itself (seeds, only).
        header: the experiment's post, arms, seeds, tune, claims and figures at this scale.
        scale: the scale's name.
        out: the output folder.
        seeding: the seeds, or when one looks whether there are enough.
        added: the arm that the user adds.
        chosen: arm -> the tuned value, once it is known.
        beyond: arm -> the points that it is tried at beside those of its grid.
        asked: arm -> its number of seeds, once it is more than the first look's.
    """

    user: tuple[str, ...]
    typed: tuple[str, ...]
    header: dict[str, Any] | None
    scale: str
    out: str
    on_error: str
    seeding: Seeding
    added: Added | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    beyond: dict[str, list[Point]] = field(default_factory=dict)

    @property
    def slug(self) -> str | None:
        """The experiment's name."""
        return self.header["slug"] if self.header else None

    @property
    def command(self) -> str:
        """What was typed."""
        experiment = [f"experiment={self.slug}"] if self.header else []
        return " ".join(["suexp", *experiment, *self.typed])

    @property
    def folder_name(self) -> str:
        """The scale, and what the user changed."""
        if self.added:
            return f"{self.scale},{self.added.folder_name}"
        quiet = (key_of(item) == "seeds.budget" or volatile(key_of(item)) for item in self.typed)
        changes = sorted(item for item, same in zip(self.typed, quiet, strict=True) if not same)
        return re.sub(r"[^\w.,=+-]", "_", ",".join([self.scale, *changes]))[:120]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the arm that has most."""
        return self.seeding.seeds(max(self.asked.values(), default=self.seeding.looks[0]))

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """Return the seeds of an arm."""
        return self.seeding.seeds(self.asked.get(arm, self.seeding.looks[0]))

    @functools.cached_property
    def record(self) -> dict[str, dict[str, Any]]:
        """The recorded runs of an experiment that an arm is added to, by id: none is made anew."""
        return recorded(str(self.slug)) if self.added else {}

    def runs(self) -> list[Planned]:
        """Return every run: arms in order, and for each the seeds in order."""
        if self.header is None:
            return [self._planned(None, (), seed) for seed in self.seeds]
        tune = self.header.get("tune") or {}
        planned = []
        for arm, overrides in self.header["arms"].items():
            tuned = setting(tune, self.chosen[arm]) if arm in self.chosen else ()
            planned += [
                self._planned(arm, (*overrides, *tuned), seed) for seed in self.seeds_of(arm)
            ]
        return planned

    def points(self, arm: str) -> list[Point]:
        """Return the points at which an arm is tried: the grid's, then those beyond it."""
        assert self.header is not None
        return [*self.header["tune"]["points"][arm], *self.beyond.get(arm, [])]

    def tuning(self) -> dict[str, dict[Any, Planned]]:
        """Return the runs that choose each arm's own best value: arm -> value -> run."""
        if self.header is None or not self.header.get("tune"):
            return {}
        parameter = self.header["tune"]["parameter"]
        return {
            arm: {name_of(point, parameter): self._trial(arm, point) for point in self.points(arm)}
            for arm in self.header["tune"]["grid"]
            if arm in self.header["arms"]
        }

    def _trial(self, arm: str, point: Point) -> Planned:
        """Return the run that tries an arm at a point."""
        assert self.header is not None
        tune = self.header["tune"]
        own = setting(tune, name_of(point, tune["parameter"]))
        overrides = (*self.header["arms"][arm], *own, *held_out(tune, arm))
        return self._planned(arm, overrides, tune["seed"])

    def point_of(self, arm: str, value: Any) -> Point:
        """Return the point of a trial by its name."""
        assert self.header is not None
        parameter = self.header["tune"]["parameter"]
        return next(point for point in self.points(arm) if name_of(point, parameter) == value)

    def reach(self, metric_of: Callable[[Planned], float | None]) -> bool:
        """Try further points where an arm's best is on the edge of its grid; return whether any.

        A point that no run can take, a probability of 2 say, ends the search on that side.
        """
        if self.header is None or not self.header.get("tune"):
            return False
        tune = self.header["tune"]
        more = False
        for arm, value in choose(self, metric_of).items():
            best = self.point_of(arm, value)
            for point in beyond(self.points(arm), len(tune["points"][arm]), best):
                with suppress(UserError):
                    resolve(self._trial(arm, point).overrides)
                    self.beyond.setdefault(arm, []).append(point)
                    more = True
        return more

    def _planned(self, arm: str | None, overrides: Sequence[str], seed: int) -> Planned:
        if self.header is None:
            return Planned((*self.user, f"seed={seed}"), None, seed)
        scale = tuple(self.header["overrides"])
        labels = (f"run.experiment={self.slug}", f"run.arm={arm}")
        return Planned(
            (f"experiment={self.slug}", *overrides, *scale, *self.user, f"seed={seed}", *labels),
            arm,
            seed,
        )


def plan(arguments: Sequence[str]) -> list[Plan]:
    """Return what a command line asks for, every run of it composed and checked.

    Args:
        arguments: overrides; ``a=1,2`` sweeps, ``experiment=a,b`` runs both.

    Raises:
        UserError: an override that an arm fixes, an unknown arm, a bad claim, a bad config.
    """
    arguments = as_typed(arguments)
    try:
        parsed = hydra_internals.parse(arguments)
        hydra_internals.refuse_endless(parsed)
        fixed = [item for item in parsed if item.get_key_element() != "seed"]
        batches = hydra_internals.combinations(fixed)
        seeds = [
            int(value)
            for item in parsed
            if item.get_key_element() == "seed"
            for value in (
                item.sweep_string_iterator()
                if item.is_sweep_override()
                else [item.get_value_element_as_str()]
            )
        ]
    except (HydraException, ValueError) as error:
        raise UserError(explain(error, conf_dir(), arguments)) from error
    plans = [_plan(tuple(batch), tuple(seeds)) for batch in batches]
    for item in plans:
        for planned in itertools.chain(item.runs(), *(v.values() for v in item.tuning().values())):
            resolve(planned.overrides)
    return plans


def _plan(overrides: tuple[str, ...], seeds: tuple[int, ...]) -> Plan:
    for item in overrides:
        if key_of(item) == "experiment":
            _check_file(item.partition("=")[2], tuple(hydra_internals.folders()))
    # Hydra does not put a list where a mapping was, or the other way round.
    whole = [item for item in overrides if key_of(item) == "seeds"]
    cfg = _compose(tuple(item for item in overrides if item not in whole))
    with _told(overrides):
        plain: dict[str, Any] = {
            str(key): OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in cfg.items()
        }
    check_own(plain, catalogue_of(conf_dir()))
    slug = cfg.hydra.runtime.choices.get("experiment")
    typed = [item for item in overrides if key_of(item) != "experiment"]
    typed += ["seed=" + ",".join(map(str, seeds))] if seeds else []
    common: dict[str, Any] = {
        "typed": tuple(typed),
        "scale": plain["scale"]["name"],
        "out": plain["out"],
        "on_error": plain["on_error"],
    }
    added = Added.of(overrides)
    asked = ("experiment", *EXPERIMENT_KEYS, *ARM_KEYS)
    user = tuple(item for item in overrides if key_of(item) not in asked)
    if slug is None:
        if added:
            raise UserError(f"add={added.arm}: only an experiment has arms; choose experiment=NAME")
        return Plan(user=user, header=None, seeding=Seeding(seeds or (plain["seed"],)), **common)
    for item in whole:
        cfg.seeds = hydra_internals.parse([item])[0].value()
    with _told(overrides):
        header = _header(slug, cfg, common["scale"])
    if whole:  # what is typed counts at every scale
        header["seeds"] = OmegaConf.to_container(cfg.seeds)
    if added:
        header = added.into(header)
        user = tuple(item for item in user if item not in added.own)
    _refuse_fixed(user, header)
    seeding = Seeding(seeds) if seeds else Seeding.of(header["seeds"])
    return Plan(user=user, header=header, seeding=seeding, added=added, **common)


def _check_file(slug: str, folders: tuple[Path, ...]) -> None:
    """Refuse an experiment's file that is wrong, before Hydra reads it."""
    base = next(folder for folder in folders if (folder / "config.yaml").is_file())
    catalogue = Catalogue(next((folder for folder in folders if folder != base), None), base)
    path = catalogue.groups.get("experiment", {}).get(slug)
    if path is not None:  # else Hydra says that there is none
        _checked(catalogue.option("experiment", slug), path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _checked(option: Option, _: int) -> None:
    from suexp.experiment.schema import check  # pydantic takes a while to import

    check(option)


def _header(slug: str, cfg: Any, scale: str) -> dict[str, Any]:
    """Return the experiment's own keys at this scale."""
    from suexp.experiment.schema import read

    keys = {key: OmegaConf.to_container(cfg[key]) for key in EXPERIMENT_KEYS if cfg.get(key)}
    header = {"slug": slug, **read(slug, keys, scale)}
    tune = header["tune"] or {}
    tuned = (setting(tune, value) for values in tune.get("grid", {}).values() for value in values)
    for overrides in (*header["arms"].values(), header["overrides"], *tuned):
        refuse_typed(f"experiment={slug}", overrides)
    check_secrets(header, f"experiment={slug}: ")
    return header


def _refuse_fixed(user: Sequence[str], header: dict[str, Any]) -> None:
    """Refuse an override that would silently lose against, or undo, what an arm is about."""
    fixed: dict[str, list[str]] = {}
    for arm, overrides in header["arms"].items():
        for item in overrides[len(header["base"]) :]:
            fixed.setdefault(key_of(item), []).append(arm)
    tune = header.get("tune")
    if tune:
        for arm, values in tune["grid"].items():
            for key in {key_of(item) for value in values for item in setting(tune, value)}:
                fixed.setdefault(key, []).append(arm)
    for item in user:
        if key_of(item) in fixed:
            arms = ", ".join(dict.fromkeys(fixed[key_of(item)]))
            raise UserError(
                f"{key_of(item)} is fixed by the arms {arms} of experiment={header['slug']}; "
                "choose among the arms with only=[...], or run it without the experiment"
            )


def choose(plan: Plan, metric_of: Callable[[Planned], float | None]) -> dict[str, Any]:
    """Return each arm's best tuned value; an arm whose runs all failed keeps its own."""
    assert plan.header is not None
    tune = plan.header["tune"]
    best = min if tune.get("mode", "min") == "min" else max
    chosen = {}
    for arm, runs in plan.tuning().items():
        scores = {value: metric_of(planned) for value, planned in runs.items()}
        known = {value: score for value, score in scores.items() if score is not None}
        if known:
            chosen[arm] = best(known, key=known.__getitem__)
    return chosen
