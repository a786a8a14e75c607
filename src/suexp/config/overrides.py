"""Overrides as words: what key one sets, how a value is quoted, which only the user may give."""

import re
import shlex
from collections.abc import Sequence

from suexp.errors import UserError

# The override that only the user may give: see suexp.code.trust.
ALLOWS = re.compile(r"\+{0,2}allow_targets=")


def refuse_allowing(where: str, overrides: Sequence[str]) -> None:
    """Refuse overrides, not typed by the user, that allow packages (see `suexp.code.trust`)."""
    for item in overrides:
        if key_of(item).split(".")[0] == "allow_targets":
            raise UserError(
                f"{where}: {item} does not count there; if you trust it, say it yourself"
            )


def parent_overrides(parent: str | list[str]) -> list[str]:
    """Return the parent's overrides, given as a list or as one string with blanks between."""
    return shlex.split(parent) if isinstance(parent, str) else [str(item) for item in parent]


def key_of(override: str) -> str:
    """Return the key that an override sets: ``optimizer.lr`` of ``+optimizer.lr=1e-3``."""
    return re.sub(r"^[~+]{1,2}", "", override.split("=", 1)[0]).split("@")[0].strip()


def quoted(value: str) -> str:
    """Quote for Hydra: backslashes count only before a quote, where they are doubled."""
    return '"' + re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + (m[2] and '\\"'), value) + '"'
