"""Locks between processes, on file systems with flock and without."""

import errno
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

WITHOUT_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def acquired(path: Path, timeout: float = -1) -> BaseFileLock:
    """Return a lock that is held, and that dies with its process.

    Where the file system has no flock, a file ``PATH.soft`` that names its holder is the lock. One
    that a killed process of another machine left has to be deleted by hand.

    Args:
        path: the lock's file.
        timeout: seconds to wait for it; below 0: as long as it takes.

    Raises:
        Timeout: another process holds it.
        OSError: the file cannot be written.
    """
    lock: BaseFileLock = FileLock(path)
    try:
        lock.acquire(timeout)
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in WITHOUT_FLOCK:
            raise
        lock = SoftFileLock(f"{path}.soft")
        lock.acquire(timeout)
    return lock


def is_held(path: Path) -> bool:
    """Tell whether a process holds a lock, of whichever user."""
    try:
        acquired(path, timeout=0).release()
    except Timeout:
        return True
    except PermissionError:
        return _is_held_by_another_user(path)
    except OSError:
        return False
    return False


def _is_held_by_another_user(path: Path) -> bool:
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
