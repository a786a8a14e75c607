"""The errors that are told in one line."""

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suexp.redaction import redacted

# What a disk says that takes no more, and one that never took anything.
FULL = (errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS)
UNWRITABLE = (*FULL, errno.EACCES, errno.ENOTDIR, errno.EPERM)
# Exit code of a run's own process that could write no more (sysexits.h: an error of input, output).
DISK_FULL = 74
# No size or count that a component takes is larger.
MOST = 2**31 - 1
# Each layer is an object: a network of more would be built for minutes, whatever their size.
MOST_LAYERS = 10_000
_LONG_WORD = re.compile(r"(\S{200})\S{200,}(\S{40})")


def one_line(text: str) -> str:
    """Return a text on one line: breaks and control codes as escapes, endless words cut."""
    shown = (letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return _LONG_WORD.sub(r"\1...\2", "".join(shown))


class UserError(Exception):
    """A mistake of the user: printed as one line (what, where, the fix), exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(redacted(message)))


class Misfit(UserError):
    """Choices that cannot be combined, or one that needs what no other brings.

    Attributes:
        labels: the choices, ``group=option``, of which others would do.
        missing: the features of which one would do; empty for a refusal.
    """

    def __init__(
        self,
        message: str,
        labels: tuple[str, ...] = (),
        missing: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(message)
        self.labels, self.missing = labels, missing


class Unwritable(UserError):
    """The disk takes no more. The runs that are still to come would fail as well: a sweep stops."""


@contextmanager
def writing(path: Path, reads: bool = False) -> Iterator[None]:
    """Say in one line why a file could not be written.

    Args:
        path: the file, or a folder.
        reads: whether files are read here, too, so that only a full disk is sure to be one.

    Raises:
        Unwritable: the disk is full, say.
        UserError: the folder was deleted meanwhile.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not reads:
            raise UserError(
                f"cannot write {path}: its folder was deleted; the same command runs it again"
            ) from error
        if error.errno not in (FULL if reads else UNWRITABLE):
            raise
        raise Unwritable(
            f"cannot write {path}: {error.strerror}; once there is room, the same command goes on "
            "from the last checkpoint (out=DIR chooses another folder)"
        ) from error


Value = float | Sequence[float] | None


def at_least(bound: float, group: str = "", /, most: float = MOST, **values: Value) -> None:
    """Refuse values below a bound, and those that no machine could serve.

    None, where an argument may be left out, is no value; of a list each entry is one.

    Args:
        bound: the least value that passes.
        group: the group that the arguments are set in, if the message is to name it.
        most: the largest value that passes.
        values: the arguments.

    Raises:
        ValueError: the first one outside, by its name.
    """
    for name, value in _each(values):
        if not bound <= value <= most:  # nan is not
            key = f"{group}.{name}" if group else name
            end = f"at most {most}" if value > most else f"at least {bound}"
            raise ValueError(f"{key} must be {end}, not {value}")


def between(interval: str, /, **values: Value) -> None:
    """Refuse values outside an interval.

    None, where an argument may be left out, is no value; of a list each entry is one.

    Args:
        interval: as mathematics writes it, ``"[0, 1)"``; its ends may be ``inf``.
        values: the arguments.

    Raises:
        ValueError: the first one outside, by its name.
    """
    low, high = map(float, interval[1:-1].split(","))
    for name, value in _each(values):
        ends = (interval[0] == "[" and value == low) or (interval[-1] == "]" and value == high)
        if not (low < value < high or ends):
            what = "above 0" if interval == "(0, inf)" else f"in {interval}"
            raise ValueError(f"{name} must be {what}, not {value}")


def _each(values: Mapping[str, Value]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        for entry in value if isinstance(value, Sequence) else (value,):
            if entry is not None:
                yield name, entry


def some(**lists: Sequence[Any]) -> None:
    """Refuse lists that are empty.

    Raises:
        ValueError: the first one, by its name.
    """
    for name, entries in lists.items():
        if not entries:
            raise ValueError(f"{name} must have an entry, not {list(entries)}")


def one_of(known: tuple[Any, ...], **values: Any) -> None:
    """Refuse values of arguments that have few.

    Raises:
        ValueError: the first other one, by its name.
    """
    for name, value in values.items():
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, not {value}")
