"""The hash of a file's content, read again only when the file has changed."""

import hashlib
import json
import os
import time
from pathlib import Path

from suexp.data.cache import cache_dir

# A file written within the same tick of the clock as it was read looks unchanged; trust older ones.
SETTLED_NS = 2 * 10**9


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    It is remembered under the file's path, size and time of change, so that gigabytes are not read
    at each start.
    """
    stat = path.stat()
    facts = [str(path.absolute()), stat.st_size, stat.st_mtime_ns]
    memory = cache_dir() / "hashes" / hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    try:
        known = memory.read_text(encoding="ascii")
        if len(known) == 64:
            return known
    except OSError:
        pass
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
        _remember(memory, found)
    return found


def _remember(memory: Path, found: str) -> None:
    temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(found, encoding="ascii")
        temporary.replace(memory)
    except OSError:  # a cache that cannot be written costs time, not the run
        temporary.unlink(missing_ok=True)
