"""What files hold, remembered until they change: hashes, and whatever else is read off them."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from suexp.errors import UserError

# A file written within the same tick of the clock as it was read looks unchanged; trust older ones.
SETTLED_NS = 2 * 10**9


def cache_dir() -> Path:
    """Return the folder for what can be made again: $SUEXP_CACHE, else the user's cache folder.

    Raises:
        UserError: who runs this has no home, in a container for example.
    """
    try:
        if own := os.environ.get("SUEXP_CACHE"):
            return Path(own).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "suexp"
    except RuntimeError as error:
        raise UserError(
            "there is no home folder for prepared data; choose one with SUEXP_CACHE=DIR"
        ) from error


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; a file that has not changed is not read again."""
    return remembered(path, "sha256", _sha256)


def remembered(path: Path, what: str, read: Callable[[Path], str]) -> str:
    """Return what ``read`` makes of a file, from a memory on disk where the file is as it was.

    It is known by its path, size, inode and times of change, of which the system sets one itself:
    a file that is written over, and given its old time, is another one.

    Args:
        path: the file.
        what: names the reading, and changes when ``read`` does.
        read: makes a text of the file, not empty.
    """
    stat = path.stat()
    times = (stat.st_mtime_ns, stat.st_ctime_ns)
    facts = [what, str(path.absolute()), stat.st_size, stat.st_ino, *times]
    memory = cache_dir() / "contents" / hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    try:
        if known := memory.read_text(encoding="utf-8"):
            return known
    except (OSError, UnicodeDecodeError):
        pass
    found = read(path)
    if time.time_ns() - max(times) > SETTLED_NS:
        _remember(memory, found)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remember(memory: Path, found: str) -> None:
    temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(found, encoding="utf-8")
        temporary.replace(memory)
    except OSError:  # a memory that cannot be written costs time, not the run
        with contextlib.suppress(OSError):
            temporary.unlink()
