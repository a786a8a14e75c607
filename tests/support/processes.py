"""Runs in processes of their own, forked from one that has imported everything already."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from suexp.launch.processes import preload
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from suexp.store.summary import Summary

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(preload(spec_of([])))


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, where annotations are not checked."""
    with one_apart() as call:
        return call(function, *arguments)


@contextmanager
def one_apart() -> Iterator[Callable[..., Any]]:
    """Give what calls functions in one such process, where each finds what the others imported.

    After one that brought the process down the next has a new one.
    """
    pool = ProcessPoolExecutor(1, FORKS)

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal pool
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            pool.shutdown()
            pool = ProcessPoolExecutor(1, FORKS)
            raise

    yield call
    pool.shutdown()


def start(spec: RunSpec, **environment: str) -> BaseProcess:
    """Begin a run; ``environment`` is set in its process."""
    process = FORKS.Process(target=_run, args=(spec, environment))
    process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    """Wait for a run's end."""
    process.join(200)
    return process.exitcode


def stop_at(step: int, run: Run, process: BaseProcess, number: int) -> None:
    """Send a signal once the run has a checkpoint of this step, and wait for its end."""
    assert process.pid is not None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.is_alive():
        found = run.checkpoints()
        if found and int(found[0].stem.removeprefix("step=")) >= step:
            break
        time.sleep(0.005)
    os.kill(process.pid, number)
    process.join(60)


def two_processes(spec: RunSpec) -> Summary:
    """Make a run of two processes, as Lightning would start them; return its summary."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    cluster = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    ranks = [start(spec, **cluster, NODE_RANK="0", LOCAL_RANK=str(rank)) for rank in range(2)]
    codes = [exit_code(rank) for rank in ranks]
    summary = Run(spec).summary()
    assert codes == [0, 0], f"exit codes {codes}; the first process's summary: {summary}"
    assert summary is not None
    return summary


def _run(spec: RunSpec, environment: dict[str, str]) -> None:
    os.environ |= environment
    from suexp.job.checkpoint import Interrupted
    from suexp.job.run import execute

    try:
        summary = execute(spec)
    except Interrupted:
        raise SystemExit(130) from None
    raise SystemExit(summary.exit_code)
