"""The command line in processes that are killed at a given moment."""

import functools
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from suexp.interruption import STOPS

CHANGES = ("os.rename", "os.remove", "os.mkdir")


@dataclass(frozen=True)
class Moment:
    """When to kill a command.

    Attributes:
        kind: ``write``: before its n-th change to files below its folder; ``event``: the same, but
            every file that it opens counts, also the configs that it plans with; ``time``: after
            some seconds; ``parent``: then, too, but its children live on; ``file``: when a file is
            written, but does not stand in its place yet; ``never``.
        count: n, or the seconds.
        name: the file's.
    """

    kind: str
    count: float = 0
    name: str = ""


NEVER = Moment("never")


def nursery(pipe: Any, place: Path, argv: list[str]) -> None:
    """Run a command for each request until the pipe is closed, and answer with its wait status.

    The one named here comes first, in this process. What it imported and composed is there for the
    others, which are forks: they cost little.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a process that has seen a GPU cannot fork
    os.register_at_fork(after_in_child=_forget_handlers)
    _attempt(place, argv, NEVER, None)
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            os.setsid()
            os._exit(_attempt(*request))
        pipe.send(os.waitpid(child, 0)[1])


def _attempt(
    place: Path, argv: list[str], moment: Moment, before: Callable[[], object] | None
) -> int:
    """Run the command in its folder; ``.said`` and ``.died`` beside it tell what became of it."""
    place.mkdir(exist_ok=True)
    os.chdir(place)
    said = os.open(f"{place}.said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        from suexp.cli import main
        from suexp.launch import processes as local
        from tests.support.tiny import forget_compositions

        # Children of a fork server would belong to another group, and import everything anew.
        own: Any = SimpleNamespace(get_context=lambda _: multiprocessing.get_context("fork"))
        local.multiprocessing = own
        local._start_server = lambda: None
        local._child = functools.partial(_child, local._child)
        if moment.kind == "event":  # planning, too
            forget_compositions()
        _arm(moment, place)
        if before is not None:
            before()
        return main(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _forget_handlers() -> None:
    """Leave signals to the system until a run hears them, as children of a fork server do."""
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)


def _child(run: Any, *arguments: Any) -> None:
    """Run a launcher's child; the fork of a thread cannot shut down as a process does."""
    try:
        run(*arguments)
    except SystemExit as error:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(error.code if isinstance(error.code, int) else 1)


def _arm(moment: Moment, place: Path) -> None:
    if moment.kind in ("time", "parent"):
        whom = 0 if moment.kind == "time" else os.getpid()
        where = f"after {moment.count:.2f} s"
        timer = threading.Timer(moment.count, _die, (place, where, whom))
        timer.daemon = True
        timer.start()
    if moment.kind not in ("write", "event", "file"):
        return
    left = moment.count

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        changes = event in CHANGES
        if event == "open":
            changes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        elif not changes:
            return
        name = str(arguments[0])
        if moment.kind == "file":
            if event == "os.rename" and name.endswith(f"/{moment.name}.part"):
                _die(place, f"{event} {name.removeprefix(str(place))}", 0)
            return
        if moment.kind == "write" and not (
            changes and f"{Path.cwd() / name}".startswith(f"{place}/") and ".lock" not in name
        ):
            return
        left -= 1
        if left == 0:  # once: to write down where is an event itself
            _die(place, f"{event} {name.removeprefix(str(place))}", 0)

    sys.addaudithook(hook)


def _die(place: Path, where: str, whom: int) -> None:
    file = os.open(f"{place}.died", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{where}\n".encode())
    if whom:
        os.kill(whom, signal.SIGKILL)
    os.killpg(0, signal.SIGKILL)
