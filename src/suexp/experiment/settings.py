"""Settings of an arm, as the overrides that one would type.

{data: {patch: 2}, optimizer.lr: 1e-3}     nested mappings and dotted keys mean the same
two                                        a name: of settings in `let`, or of another arm
{rate: {start: 0, end: 1, steps: 9}}       a number that depends on the step is one value
[two, optimizer: lion, ~scheduler]         several of these; ~ leaves a choice out
{from: [two, method: theseus]}             the run to start from: this arm, changed so
{sources: {teacher: [two]}}                another run that the arm needs, likewise
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from suexp.config.overrides import quoted, typed
from suexp.near import near

_KEY = re.compile(r"\+{0,2}[\w./@-]+", re.ASCII)
_LEFT_OUT = re.compile(r"~[\w./@-]+", re.ASCII)
# What stands for a number that depends on the step (`suexp.nn.ramp`), one value, holds these keys.
RAMP = {"start", "end", "steps"}

Keys = tuple[str | int, ...]


class Mistake(Exception):
    """What is wrong with an experiment.

    Attributes:
        keys: the way to it from the top of the experiment's file.
    """

    def __init__(self, keys: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


class Named(NamedTuple):
    """Settings that have a name, and where they stand."""

    keys: Keys
    item: Any


def overrides(
    item: Any, names: Mapping[str, Named], keys: Keys = (), trail: tuple[str, ...] = ()
) -> list[str]:
    """Return settings as the overrides that one would type.

    Args:
        item: a name, a mapping, or a list of these.
        names: what the names stand for.
        keys: where the item stands.
        trail: the names that led here.

    Raises:
        Mistake: an unknown name, a circle of names, or what is neither name nor mapping.
    """
    if isinstance(item, list):
        parts = [overrides(part, names, (*keys, i), trail) for i, part in enumerate(item)]
        return [override for part in parts for override in part]
    if isinstance(item, Mapping):
        return [
            override
            for key, value in item.items()
            for override in _set(str(key), value, names, (*keys, str(key)), trail)
        ]
    place = _dotted(keys)
    if not isinstance(item, str):
        raise Mistake(
            keys, f"{place}: expected names and settings (key: value), found {shown(item)}"
        )
    if _LEFT_OUT.fullmatch(item):
        return [item]
    if item in trail:
        circle = " -> ".join([*trail[trail.index(item) :], item])
        raise Mistake(keys, f"{place}: a circle of names: {circle}")
    if item not in names:
        key, equals, value = item.partition("=")
        hint = f"; write {key}: {value}" if equals else near(item, names)
        raise Mistake(keys, f"{place}: no settings and no arm have the name {item!r}{hint}")
    return overrides(names[item].item, names, names[item].keys, (*trail, item))


def _set(
    key: str, value: Any, names: Mapping[str, Named], keys: Keys, trail: tuple[str, ...]
) -> Iterator[str]:
    """Give the overrides of one setting."""
    if key == "from":
        if not value:
            raise Mistake(keys, f"{_dotted(keys)}: says nothing; name what the parent changes")
        yield f"parent=[{','.join(map(quoted, overrides(value, names, keys, trail)))}]"
    elif key == "sources":
        if not isinstance(value, Mapping):
            raise Mistake(keys, f"{_dotted(keys)}: expected name: settings, found {shown(value)}")
        for name, item in value.items():
            found = overrides(item or [], names, (*keys, str(name)), trail)
            yield f"++sources.{name}=[{','.join(map(quoted, found))}]"
    elif key == "parent":
        raise Mistake(keys, f"{_dotted(keys)}: the run that an arm starts from is `from`")
    elif _LEFT_OUT.fullmatch(key) and value is None:
        yield key
    elif not _KEY.fullmatch(key):
        raise Mistake(keys, f"{_dotted(keys)}: {key!r} is no key of the config")
    elif isinstance(value, Mapping) and value and not value.keys() >= RAMP:
        for inner, below in value.items():
            yield from _set(f"{key}.{inner}", below, names, (*keys, str(inner)), trail)
    else:
        yield f"{key}={typed(value)}"


def shown(value: Any) -> str:
    """Return a value as YAML shows it, cut to a line's size."""
    text = "nothing" if value is None else typed(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _dotted(keys: Keys) -> str:
    return ".".join(map(str, keys))
