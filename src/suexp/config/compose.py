"""From overrides to a checked, resolved config."""

import functools
import pickle
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers.oc import env

from suexp.code.trust import allowed
from suexp.config import hydra_internals
from suexp.config.catalogue import ARM_KEYS, EXPERIMENT_KEYS
from suexp.config.check import catalogue_of, check, check_combination
from suexp.config.explain import explain
from suexp.config.file_rights import TYPED, check_rights, refuse_typed
from suexp.config.overrides import key_of, origin_overrides
from suexp.config.own import MOST_SEED, check_groups, check_own
from suexp.config.quoting import words
from suexp.errors import UserError
from suexp.folders import conf_dir
from suexp.origins import KEYS, PARENT


def _divide(a: Any, b: Any) -> int:
    if not (isinstance(a, int) and isinstance(b, int)) or b < 1 or a % b:
        raise UserError(f"{a} does not divide by {b} (model.dim by model.num_heads?)")
    return int(a // b)


OmegaConf.register_new_resolver("div", _divide, replace=True)


def _environment(*words: Any, _root_: Any, _node_: Any) -> Any:
    """Refuse what a run's config takes from the environment: keys lie there, and the run keeps it.

    Other configs of this process, and Hydra's own node, which no run keeps, may read it.
    """
    key = _node_._get_full_key(None)
    if "allow_targets" in _root_ and not key.startswith("hydra."):
        raise UserError(
            f"{key}: ${{oc.env:{words[0]}}}: a run's config does not read the environment; "
            "type the value"
        )
    return env(*words)


OmegaConf.register_new_resolver("oc.env", _environment, replace=True)


def compose(overrides: str | Sequence[str] = (), config_dir: str | None = None) -> DictConfig:
    """Return the composed config, its interpolations live, as `suexp OVERRIDES` would use it.

    Args:
        overrides: as on the command line: ``"attention=performer seed=1"``, or a list.
        config_dir: a folder with options of your own, laid out like conf/.

    Raises:
        UserError: a misspelt group, option, key or value; one line with the near match.
    """
    cfg = _compose(tuple(words(overrides)), config_dir)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def _compose(
    overrides: tuple[str, ...], config_dir: str | None = None, without: tuple[str, ...] = ()
) -> DictConfig:
    """Return the composed config; files of experiments lose the keys ``without``."""
    bare = not any(key_of(item).startswith("hydra") for item in overrides)
    with _told(overrides):
        config = hydra_internals.load(overrides, config_dir, without, bare)
        check_rights(config, overrides)
    return config


def whole(overrides: Sequence[str]) -> DictConfig:
    """Return what Hydra would start with, its own node and groups in it.

    Raises:
        UserError: they cannot be composed.
    """
    with _told(tuple(overrides)):
        return hydra_internals.load(overrides, None, (), bare=False, run_mode=RunMode.MULTIRUN)


@contextmanager
def _told(overrides: tuple[str, ...]) -> Iterator[None]:
    """Turn Hydra's errors into one line for the user."""
    try:
        with hydra_internals.composing(overrides):
            yield
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # group=null: ValueError
        raise UserError(explain(error, conf_dir(), overrides)) from error
    except RecursionError as error:
        raise UserError("the defaults lists of the chosen options form a circle") from error


@dataclass(frozen=True)
class Resolved:
    """A run's config with nothing left to look up, and the option chosen in each group.

    Where several are chosen in one group they stand with commas between.
    """

    config: dict[str, Any]
    choices: dict[str, str]


def resolve(overrides: Sequence[str], config_dir: str | None = None) -> Resolved:
    """Compose, check and resolve one run, and the runs that it needs (`suexp.origins`).

    Each of those is the same command with its own overrides appended, without the parent, sources,
    transform and method of the run itself; the overrides may name such for it.

    Raises:
        UserError: what cannot be composed, or a combination that cannot work.
    """
    return _resolve(tuple(overrides), config_dir)


_SEEDING = threading.Lock()  # the composed config is shared by runs of different seeds


@functools.lru_cache(maxsize=1024)
def _composed(
    overrides: tuple[str, ...], config_dir: str | None
) -> tuple[DictConfig, dict[str, str], Any]:
    """Return what `resolve` starts from: the config, the choices, the seed."""
    values = _values(overrides)
    cfg, choices = _chosen(tuple(item for item in overrides if item not in values), config_dir)
    cfg = pickle.loads(pickle.dumps(cfg))  # faster than a deep copy
    with _told(overrides):
        hydra_internals.apply(values, cfg)
    return cfg, choices, cfg.get("seed")


def _values(overrides: tuple[str, ...]) -> list[str]:
    """Return the overrides that set a value and choose no option: Hydra applies them last.

    Whether a logger's were typed or stand in a file is asked when the others are composed.
    """
    if not all(re.match(r"[\w.]+=", item) for item in overrides):  # +key, ~key, group@package
        return []
    return [
        item
        for item in overrides
        if "." in key_of(item)
        and key_of(item).split(".")[0] not in ("hydra", "logger", *EXPERIMENT_KEYS, *ARM_KEYS)
    ]


@functools.lru_cache(maxsize=256)
def _chosen(
    overrides: tuple[str, ...], config_dir: str | None
) -> tuple[DictConfig, dict[str, str]]:
    """Return the config of the chosen options, and the choices."""
    told = {key_of(item).split(".")[0] for item in overrides} & {*EXPERIMENT_KEYS}
    cfg = _compose(overrides, config_dir, () if told else EXPERIMENT_KEYS)
    choices = {
        group: option if isinstance(option, str) else ",".join(option)
        for group, option in cfg.hydra.runtime.choices.items()
        if option is not None and not group.startswith("hydra")
    }
    with open_dict(cfg):
        for key in ARM_KEYS:
            if cfg.pop(key, None) is not None:
                raise UserError(f"{key}: only an experiment has arms; choose experiment=NAME")
        for key in ("hydra", *EXPERIMENT_KEYS):
            cfg.pop(key, None)
    return cfg, choices


@functools.lru_cache(maxsize=4096)
def _resolve(overrides: tuple[str, ...], config_dir: str | None) -> Resolved:
    # Runs that differ in their seed alone are composed once, and resolved once if only the seed
    # itself tells.
    seeds = [
        item
        for item in overrides
        if re.fullmatch(r"seed=\d{1,10}", item) and int(item[5:]) <= MOST_SEED
    ]
    rest = tuple(item for item in overrides if item not in seeds)
    seed = int(seeds[-1].partition("=")[2]) if seeds else None
    shared = seed is not None and not _refers_to_seed(rest, config_dir)
    packed, choices = _resolved(rest, config_dir, None if shared else seed)
    config: dict[str, Any] = pickle.loads(packed)
    if shared:
        config["seed"] = seed
    if config.get(PARENT):
        config[PARENT] = _origin(PARENT, config[PARENT], overrides, config_dir)
    for name, value in (config.get("sources") or {}).items():
        if not name.isidentifier() or name == PARENT:
            raise UserError(f"sources.{name}: a source's name is a word, not {PARENT}")
        config["sources"][name] = _origin(f"sources.{name}", value, overrides, config_dir)
    return Resolved(config, dict(choices))


def _origin(
    place: str, value: str | list[str], overrides: Sequence[str], config_dir: str | None
) -> dict[str, Any]:
    """Return the resolved config of a run that another one needs.

    Args:
        place: the key that its overrides stand under.
        value: its overrides.
        overrides: those of the run that needs it.
        config_dir: a folder with options of the user's own.
    """
    theirs = origin_overrides(place, value)
    own_word = any(key_of(item).split(".")[0] == place.split(".")[0] for item in overrides)
    refuse_typed(place, theirs, {*TYPED} - {"out" if own_word else ""})
    # What a run sets within a group that its origin chooses anew belongs to its own choice.
    named = {key_of(item) for item in theirs}
    anew = {*KEYS, "transform", "method", *named}
    own = [item for item in overrides if not anew & {key_of(item), key_of(item).split(".")[0]}]
    cleared = [f"{key}=null" for key in KEYS if key not in named]
    cleared += ["method=none"] if "method" not in named else []
    found = _resolve((*own, *cleared, *theirs), config_dir).config
    if "transform" not in named:
        found.pop("transform", None)
    return found | {"rerun": False, "study": None}


@functools.lru_cache(maxsize=1024)
def _resolved(
    overrides: tuple[str, ...], config_dir: str | None, seed: int | None
) -> tuple[bytes, dict[str, str]]:
    """Return the resolved, checked config, pickled, and the choices; the parent stays a command."""
    cfg, chosen, own = _composed(overrides, config_dir)
    choices = dict(chosen)
    _refuse_hydra(_references(overrides, config_dir))
    with _SEEDING, open_dict(cfg):
        cfg.seed = own if seed is None else seed
        try:
            config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        except OmegaConfBaseException as error:
            # Sizes of a model that is not there, say: the reason is the combination.
            check_combination(OmegaConf.to_container(cfg), choices)  # type: ignore[arg-type]
            raise UserError(explain(error, conf_dir(), overrides)) from error
    choices |= _several(config, choices)
    config["allow_targets"] = allowed(config.get("allow_targets"))
    shipped = catalogue_of(conf_dir())
    check_own(config, shipped)
    check(config, choices)
    check_groups(config, choices, shipped)
    return pickle.dumps(config), choices


def forget() -> None:
    """Let the next run be composed of files as they are then: a notebook's may have changed."""
    for remembered in (_composed, _chosen, _resolve, _resolved, _references):
        remembered.cache_clear()


def _refuse_hydra(references: Sequence[str]) -> None:
    """Refuse what a config takes from Hydra's own, which is known only while its application runs.

    Raises:
        UserError: the first interpolation.
    """
    for word in references:
        if word.startswith("${hydra:"):
            raise UserError(f"{word}}}: a run's config does not read Hydra's; type the value")


def _refers_to_seed(overrides: tuple[str, ...], config_dir: str | None) -> bool:
    return any("seed" in word for word in _references(overrides, config_dir))


@functools.lru_cache(maxsize=1024)
def _references(overrides: tuple[str, ...], config_dir: str | None) -> tuple[str, ...]:
    """Return the interpolations of a composed config, less their closing braces."""
    cfg, _, _ = _composed(overrides, config_dir)
    return tuple(re.findall(r"\$\{[^}]*", repr(cfg)))  # YAML would take twenty times as long


def _several(config: dict[str, Any], choices: dict[str, str]) -> dict[str, str]:
    """Return the groups of which several options were chosen as a list; Hydra leaves these out."""
    found = {}
    for group, node in config.items():
        options = conf_dir() / group
        if group not in choices and isinstance(node, dict) and "_target_" not in node:
            names = [name for name in node if (options / f"{name}.yaml").is_file()]
            if names:
                found[group] = ",".join(names)
    return found
