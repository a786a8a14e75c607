"""An attention by its option's name, for modules and models that are no config's."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import suexp.attention
from suexp.attention.base import Attention
from suexp.near import near

_NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if path.stem != "base")


def named(name: str, sizes: Mapping[str, Any], options: Mapping[str, Any]) -> Attention:
    """Return the attention of a name.

    Args:
        name: an option's, ``performer`` say.
        sizes: what is known already, given to a constructor that asks for it: head_dim, dropout...
        options: further arguments of the constructor.

    Raises:
        ValueError: no such attention or argument, a dropout of one that forms no weights, or one
            that hands scores from layer to layer.
    """
    if name not in _NAMES:
        raise ValueError(f"attention={name}: no such attention{near(name, _NAMES)}")
    kind = getattr(suexp.attention, name.title().replace("_", ""))
    if kind.carries:
        raise ValueError(
            f"attention={name} hands scores from layer to layer, which no layer alone can; "
            "use attention=softmax, or it in suexp's own models"
        )
    known = inspect.signature(kind).parameters
    for key in options:
        if key not in known:
            raise ValueError(f"attention={name} has no argument {key}{near(key, [*known])}")
    if sizes.get("dropout") and "dropout" not in known:
        raise ValueError(f"attention={name} forms no weights that could be dropped; set dropout=0")
    found = {key: value for key, value in sizes.items() if key in known}
    attention: Attention = kind(**{**found, **options})
    return attention
