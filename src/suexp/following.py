"""A process that does not outlive the one that it works for."""

import os
import signal
import threading
import time

from suexp.interruption import leave_the_terminal_s

LEADER = "SUEXP_LEADER"  # the process that started another one by a command, in its environment
PERIOD, GRACE = 0.5, 5.0  # seconds


def follow(leader: int) -> None:
    """Stop this process soon after another one has ended, however that did.

    A run stops after its step, with a checkpoint. One that does not get there, as it waits for a
    process that is gone, say, is killed. Ctrl-C is the other's to hear: it asks this one to stop.

    Args:
        leader: the other's id; or this process's own parent ends.
    """
    leave_the_terminal_s()
    threading.Thread(target=_watch, args=(leader, os.getppid()), daemon=True).start()


def follow_starter() -> None:
    """Follow the process that `led` named, and lead those that this one starts."""
    leader = os.environ.get(LEADER)
    if leader is not None:
        follow(int(leader))
    os.environ[LEADER] = str(os.getpid())


def led() -> dict[str, str]:
    """Return the environment for a command that is to follow this process."""
    return {**os.environ, LEADER: str(os.getpid())}


def _watch(leader: int, parent: int) -> None:
    while os.getppid() == parent and _alive(leader):
        time.sleep(PERIOD)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
