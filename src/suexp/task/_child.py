"""An object that works in a process of its own, started with other settings of the allocator."""

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

from suexp.following import follow

# glibc maps every large block anew, and each of its pages then costs a fault: large temporaries
# would be timed up to six times too slow. It reads these when a process starts.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "500000000",
}


class DiedError(Exception):
    """The process is gone: the system may have needed its memory."""


class Child:
    """Calls methods of an object in a fresh process, where it was brought by pickling.

    Args:
        worker: the object.
    """

    def __init__(self, worker: Any) -> None:
        import torch

        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, torch.get_num_threads(), worker)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        with _environment(MALLOC):
            self._process.start()
        theirs.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method returns; what it raises is raised here.

        Raises:
            DiedError: the process ended meanwhile.
        """
        try:
            self._pipe.send((method, arguments))
            raised, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise DiedError(str(self._process.exitcode)) from error
        if raised:
            raise value
        return value

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update({key: os.environ.get(key, value) for key, value in changes.items()})
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]


def _serve(pipe: Any, threads: int, worker: Any) -> None:
    import torch

    follow(os.getppid())  # the pipe tells of the parent's end only after the method's
    torch.set_num_threads(threads)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            method, arguments = pipe.recv()
            try:
                answer = False, getattr(worker, method)(*arguments)
            except Exception as error:
                answer = True, error
            pipe.send(answer)
