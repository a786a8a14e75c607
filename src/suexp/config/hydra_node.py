"""What files say to Hydra itself chooses no code: it builds launchers, callbacks and log handlers.

A run's own nodes are checked by `suexp.code.trust`; these are built before there is a run.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from suexp.code.trust import allowed, within
from suexp.config.hydra_internals import typed_node
from suexp.config.overrides import ALLOWS, typed
from suexp.errors import UserError
from suexp.folders import conf_dir

# Hydra builds launcher and sweeper only from its registry of installed plugins.
_PLUGINS = ("hydra_plugins", "hydra._internal.core_plugins", "logging.StreamHandler")
_BUILT = ("launcher", "sweeper", "callbacks", "hydra_logging", "job_logging")
_NAMES = ("_target_", "()", "class")  # of instantiate, and of logging.config.dictConfig
_HYDRAS_OWN = ("hydra.runtime", "hydra.job.override_dirname", "hydra.job.config_name")


def check_hydra(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what files say to Hydra, and foreign code that the user has not allowed.

    Files may say whether to sweep (``hydra.mode``), and numbers of the launcher and the sweeper.

    Args:
        config: the composed config, Hydra's own node in it.
        overrides: what the user has typed.

    Raises:
        UserError: the key and the value or class, and how to allow it.
    """
    _check_files(config.hydra, overrides)
    said = any(map(ALLOWS.match, overrides))
    allow = (*_PLUGINS, *(allowed(config.get("allow_targets")) if said else ()))
    keys = [item.lstrip("+~").replace("/", ".") for item in overrides]
    for section in _BUILT:
        if section.endswith("logging") and any(within_key(item, section) for item in keys):
            continue  # Hydra's own kinds of logging write files, as the user wished
        try:
            node = OmegaConf.to_container(config.hydra[section], resolve=True)
        except OmegaConfBaseException as error:
            raise UserError(f"hydra.{section} cannot be resolved: {error.msg}") from error
        for where, name in _named(node, f"hydra.{section}"):
            if not within(str(name), allow):
                raise UserError(
                    f"{where}: {name} is no plugin of Hydra's; if you trust its code, say so "
                    f"yourself: allow_targets=[{name}]"
                )


def within_key(override: str, section: str) -> bool:
    """Tell whether a typed override sets a section of Hydra's, or something in it."""
    return override.startswith((f"hydra.{section}=", f"hydra.{section}."))


def _check_files(node: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse the first thing that is not as config.yaml and the user have it."""
    try:
        own = typed_node(tuple(overrides), conf_dir())
    except HydraException as error:
        words = " ".join(item for item in overrides if item.lstrip("+~").startswith("hydra/"))
        raise UserError(
            f"{words}: an option of Hydra's that stands in a file does not count; choose one of "
            "those that are installed, and type the rest: hydra.launcher.KEY=VALUE"
        ) from error
    for group, option in own.runtime.choices.items():
        found = node.runtime.choices.get(group)
        if found != option:
            raise _not_typed(group, found, "")
    there, mine = (dict(_leaves(OmegaConf.to_container(n), "hydra")) for n in (node, own))
    for key in (*there, *mine):
        value = there.get(key)
        if value != mine.get(key) and not _harmless(key, value):
            raise _not_typed(key, value, "" if key in mine else "+")


def _harmless(key: str, value: Any) -> bool:
    number = type(value) in (int, float) and key.count(".") == 2
    return (
        key == "hydra.mode"
        or key.startswith(_HYDRAS_OWN)
        or (number and key.startswith(("hydra.launcher.", "hydra.sweeper.")))
    )


def _not_typed(key: str, value: Any, sign: str) -> UserError:
    word = f"{sign}{key}={typed(value)}"
    return UserError(
        f"{key}: what a file says to Hydra does not count; if you trust it, type it yourself: "
        f"{shlex.quote(word) if len(word) < 200 else f'{sign}{key}=...'}"
    )


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Give every value with its dotted key."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}")
    else:
        yield path, node


def _named(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _NAMES:
                yield f"{path}.{key}", value
            yield from _named(value, f"{path}.{key}")
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _named(value, f"{path}.{place}")
