"""Overrides as words: what key one sets, how a value is quoted, which only the user may give."""

import re
import shlex
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from suexp.errors import UserError

# The override that only the user may give: see suexp.code.trust.
ALLOWS = re.compile(r"\+{0,2}allow_targets=")
_WORD = re.compile(r"[\w/+.*@?|-]+", re.ASCII)
_REFERENCE = re.compile(r"\$\{[^{}]*\}")
_OWN_WORDS = ("true", "false", "null")


def origin_overrides(place: str, value: str | list[str]) -> list[str]:
    """Return the overrides of another run, given as a list or as one string with blanks between.

    Args:
        place: the key that they stand under, ``parent`` say.
        value: what stands there.

    Raises:
        UserError: a quote in the string is not closed.
    """
    try:
        return shlex.split(value) if isinstance(value, str) else [str(item) for item in value]
    except ValueError as error:
        raise UserError(f"{place}={value}: {error}") from error


def key_of(override: str) -> str:
    """Return the key that an override sets: ``optimizer.lr`` of ``+optimizer.lr=1e-3``."""
    return re.sub(r"^[~+]{1,2}", "", override.split("=", 1)[0]).split("@")[0].strip()


def quoted(value: str) -> str:
    """Quote for Hydra: backslashes count only before a quote, where they are doubled."""
    return '"' + re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + (m[2] and '\\"'), value) + '"'


def listed(value: str) -> list[str]:
    """Return the entries of a list of words that were `quoted`."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', value, re.S)
    return [re.sub(r'(\\+)("|$)', lambda m: "\\" * (len(m[1]) // 2) + m[2], word) for word in words]


def typed(value: Any) -> str:
    """Return a value as one would type it for Hydra to read this very value."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{typed(item)}' for key, item in value.items())}}}"
    if isinstance(value, float):
        return min(repr(value), f"{Decimal(repr(value)):e}", key=len)  # 1e-3, but 0.01
    if not isinstance(value, str):
        return str(value)
    plain = _WORD.fullmatch(value) and value.lower() not in _OWN_WORDS and not _number(value)
    return value if plain or _REFERENCE.fullmatch(value) else quoted(value)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def put_anew(arguments: Sequence[str]) -> list[str]:
    """Return a command line whose ``seeds=`` replaces: Hydra puts no list where a mapping was.

    >>> put_anew(["experiment=lion", "seeds=[0,1]"])
    ['experiment=lion', '~seeds', '+seeds=[0,1]']
    """
    parts = (["~seeds", f"+{i}"] if i.startswith("seeds=") else [i] for i in arguments)
    return [item for part in parts for item in part]


def as_typed(arguments: Sequence[str]) -> list[str]:
    """Return the command line that `put_anew` was given."""
    kept = (item for item in arguments if item != "~seeds")
    return [item.removeprefix("+") if item.startswith("+seeds=") else item for item in kept]
