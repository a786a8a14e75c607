"""What files say to Hydra itself chooses no code: it builds launchers, callbacks and log handlers.

A run's own nodes are checked by `suexp.code.trust`; these are built before there is a run.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from suexp.code.trust import allowed, within
from suexp.config.overrides import ALLOWS
from suexp.errors import UserError

# Hydra builds launcher and sweeper only from its registry of installed plugins.
_PLUGINS = ("hydra_plugins", "hydra._internal.core_plugins", "logging.StreamHandler")
_BUILT = ("launcher", "sweeper", "callbacks", "hydra_logging", "job_logging")
_NAMES = ("_target_", "()", "class")  # of instantiate, and of logging.config.dictConfig


def check_hydra(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse foreign code, and variables of the environment, that the user has not typed himself.

    Args:
        config: the composed config, Hydra's own node in it.
        overrides: what the user has typed.

    Raises:
        UserError: the key and the class, and how to allow it.
    """
    said = any(map(ALLOWS.match, overrides))
    allow = (*_PLUGINS, *(allowed(config.get("allow_targets")) if said else ()))
    typed = [item.lstrip("+~").replace("/", ".") for item in overrides]
    for section in _BUILT:
        if section.endswith("logging") and any(within_key(item, section) for item in typed):
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
    if config.hydra.job.env_set and not any(within_key(item, "job.env_set") for item in typed):
        raise UserError(
            "hydra.job.env_set: only the command line sets variables of the environment"
        )


def within_key(override: str, section: str) -> bool:
    """Tell whether a typed override sets a section of Hydra's, or something in it."""
    return override.startswith((f"hydra.{section}=", f"hydra.{section}."))


def _named(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _NAMES:
                yield f"{path}.{key}", value
            yield from _named(value, f"{path}.{key}")
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _named(value, f"{path}.{place}")
