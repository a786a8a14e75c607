"""The runs that a run needs: its parent, whose weights it starts from, and its named sources.

In a resolved config they stand as configs, under ``parent`` and ``sources.NAME``. Each is trained
once, first, and is a run like any other; what a run depends on is a graph without circles.
"""

from collections.abc import Callable, Mapping
from typing import Any

PARENT = "parent"
KEYS = (PARENT, "sources")

Config = dict[str, Any]


def origins(config: Mapping[str, Any]) -> dict[str, Config]:
    """Return the configs of the runs that a run needs, by name; that of the parent is ``parent``.

    >>> list(origins({"parent": None, "sources": {"teacher": {"seed": 0}}}))
    ['teacher']
    """
    above = config.get(PARENT)
    return ({PARENT: above} if above else {}) | dict(config.get("sources") or {})


def place_of(name: str) -> str:
    """Return the key under which a run that is needed stands: ``parent`` or ``sources.NAME``."""
    return name if name == PARENT else f"sources.{name}"


def alone(config: Mapping[str, Any]) -> Config:
    """Return a config without those of other runs."""
    return {key: value for key, value in config.items() if key not in KEYS}


def changed(config: Config, change: Callable[[Config], Config]) -> Config:
    """Return a copy of a config, in which those of the runs that it needs are changed.

    Args:
        config: as resolved.
        change: returns the changed config of one of them.
    """
    found = dict(config)
    if config.get(PARENT):
        found[PARENT] = change(config[PARENT])
    if config.get("sources"):
        found["sources"] = {name: change(source) for name, source in config["sources"].items()}
    return found
