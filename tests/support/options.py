"""The options of a group, as their files have them."""

from typing import Any

from suexp.config.catalogue import Catalogue
from suexp.folders import conf_dir

CATALOGUE = Catalogue(base=conf_dir())


def options(group: str) -> list[str]:
    return sorted(CATALOGUE.groups[group])


def content(group: str, option: str) -> dict[str, Any]:
    """What an option gives its class; of several that compose it stands one level down."""
    chosen = CATALOGUE.option(group, option)
    found: dict[str, Any] = {}
    for file in reversed([chosen, *chosen.ancestors()]):
        found |= file.content
    return found if "_target_" in found else dict(found[option])
