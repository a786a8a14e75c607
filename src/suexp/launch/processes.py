"""Runs, one or several at a time: in this process, its children, or where an engine puts them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from suexp.code.trust import within
from suexp.errors import DISK_FULL, Unwritable
from suexp.following import follow, led
from suexp.interruption import TERMINAL, handling
from suexp.launch.saved_config import save
from suexp.launch.spec import spec_of
from suexp.launch.watching import describe, tell, watcher
from suexp.machine import check_devices, cores
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from suexp.store.summary import Summary


@runtime_checkable
class Process(Protocol):
    """A run under way somewhere, with two of subprocess.Popen's verbs."""

    def wait(self) -> int:
        """Return its exit code once it has ended, however it did."""

    def terminate(self) -> None:
        """Ask it to stop after its step, with a checkpoint."""


# Starts a run that has a folder of its own.
Begin = Callable[[RunSpec], Process]


def run_all(
    batch: Sequence[Sequence[str]], jobs: int | None, retries: int = 0
) -> list[Summary | None]:
    """Run each list of overrides; return the summaries (None: it never got to write one).

    Finished runs are found without importing torch.

    Args:
        batch: overrides of each run.
        jobs: runs at a time; 0: in this process; None: in this process at smoke scale or on a GPU
            or when there is only one run, else one a core.
        retries: how often a run whose own process died is begun again, from its last checkpoint.
    """
    specs = [spec_of(overrides) for overrides in batch]
    summaries = [None if spec.rerun else _found(Run(spec)) for spec in specs]
    places = [place for place, summary in enumerate(summaries) if summary is None]
    todo = [specs[place] for place in places]
    if len(todo) < len(specs):
        count = len(specs) - len(todo)
        tell(f"{count} of {len(specs)} runs are finished already (rerun=true runs them again)")
    if not todo:
        return summaries
    if jobs is None:
        jobs = 0 if len(todo) < 2 else at_a_time(todo[0].config)
    apart = jobs != 0 or any(spec.devices for spec in todo)
    watcher().begins(todo, apart)
    if not apart:
        made = _in_process(todo)
    else:
        made = _in_children(todo, max(jobs, 1), max(cores() // max(jobs, 1), 1), retries)
    for place, summary in zip(places, made, strict=True):
        summaries[place] = summary
    return summaries


def _found(run: Run) -> Summary | None:
    """Return the summary of a run that is finished; each file is read once."""
    summary = run.summary()
    return summary if run.holds(summary) else None


def at_a_time(config: dict[str, Any]) -> int:
    """Return how many runs like this one to run at a time here; 0: in this process."""
    small = config["scale"]["name"] == "smoke"
    return 0 if small or _has_gpu() else cores()


def run_elsewhere(
    batch: Sequence[Sequence[str]], jobs: int, threads: int, begin: Begin, retries: int
) -> list[Summary | None]:
    """Run each list of overrides by an engine; return the summaries (None: it never wrote one).

    Args:
        batch: overrides of each run.
        jobs: runs at a time.
        threads: of each run that does not say itself.
        begin: starts a run.
        retries: how often a run whose process died is begun again, from its last checkpoint.
    """
    specs = [spec_of(overrides) for overrides in batch]
    watcher().begins(specs, apart=True)
    return _in_processes(specs, max(jobs, 1), threads, begin, retries)


def run_one(spec: RunSpec) -> Summary | None:
    """Make a run in this process, or in processes of its own when it wants several devices.

    A finished run is found without importing torch.

    Raises:
        UserError: there are not as many devices.
    """
    run = Run(spec)
    if not spec.rerun and (summary := _found(run)) is not None:
        tell(run.already)
        return summary
    if spec.devices:
        return _in_children([spec], 1, spec.config["threads"] or 1)[0]
    from suexp.job.checkpoint import Interrupted
    from suexp.job.run import execute
    from suexp.launch.progress import Progress

    try:
        return execute(spec, tell, Progress)
    except Interrupted:
        raise KeyboardInterrupt from None


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _in_process(specs: Sequence[RunSpec]) -> list[Summary | None]:
    summaries: list[Summary | None] = []
    for spec in specs:
        began = time.perf_counter()
        summary = run_one(spec)
        watcher().ended(spec, summary, time.perf_counter() - began)
        summaries.append(summary)
        if not (summary and summary.well) and spec.stops:
            break
    return summaries + [None] * (len(specs) - len(summaries))


def _in_children(
    specs: Sequence[RunSpec], jobs: int, threads: int, retries: int = 0
) -> list[Summary | None]:
    for spec in specs:
        check_devices(spec.config["trainer"])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload(specs[0]))
    if not all(spec.devices for spec in specs):
        _start_server()

    def begin(spec: RunSpec) -> Process:
        if spec.devices:
            env = {**led(), "OMP_NUM_THREADS": str(spec.config["threads"])}
            return subprocess.Popen(save(spec).command, env=env)
        return _Forked(context.Process(target=_child, args=(spec, os.getpid())))

    return _in_processes(specs, jobs, threads, begin, retries)


def _in_processes(
    specs: Sequence[RunSpec], jobs: int, threads: int, begin: Begin, retries: int = 0
) -> list[Summary | None]:
    running: list[Process] = []
    stop, leave = threading.Event(), threading.Event()

    def attempt(run: Run) -> Summary | None:
        before = run.summary()
        process = begin(_as_child(run.spec, threads))
        running.append(process)
        if leave.is_set():
            process.terminate()  # whoever asked the others did not see it
        code = process.wait()
        running.remove(process)
        summary = run.summary()
        if code == DISK_FULL:
            stop.set()  # the next run would fare no better
            said = None if summary == before or summary is None else summary.error
            raise Unwritable(
                said
                or f"cannot write to {run.folder}: the disk is full, or the folder read-only; once "
                "there is room, the same command goes on from the last checkpoint"
            )
        return None if code and summary == before else summary

    def one(spec: RunSpec) -> Summary | None:
        run = Run(spec)
        if stop.is_set():
            return None
        if not spec.rerun and (found := _found(run)) is not None:
            return found
        for origin in spec.origins.values() if spec.devices else ():
            one(origin)  # in processes of its own: a run's processes join one training
        began = time.perf_counter()
        summary = attempt(run)
        for _ in range(retries):
            if summary is None and not stop.is_set():
                tell(f"{describe(spec, summary, 0.0)}; it goes on from its last checkpoint")
                summary = attempt(Run(spec.changed(lambda config: {**config, "rerun": False})))
        if stop.is_set():
            return summary
        watcher().ended(spec, summary, time.perf_counter() - began)
        if not (summary and summary.well) and spec.stops:
            stop.set()
        return summary

    with ThreadPoolExecutor(jobs) as pool:
        futures: dict[int, Future[Summary | None]] = {}
        try:
            for place in _order(specs):
                futures[place] = pool.submit(one, specs[place])
            return [futures[place].result() for place in range(len(specs))]
        except BaseException:
            stop.set()
            leave.set()
            _end(running, pool)
            raise


def _end(running: Collection[Process], pool: ThreadPoolExecutor) -> None:
    """Have runs stop after their step, with a checkpoint; at a further Ctrl-C, at once.

    The pool knows of a run whose submission Ctrl-C cut short.
    """
    over = False
    while not over:
        with suppress(KeyboardInterrupt):
            for process in tuple(running):  # it shrinks meanwhile
                process.terminate()
            pool.shutdown()
            over = True


def _as_child(spec: RunSpec, threads: int) -> RunSpec:
    """Return the run for a process beside others: its share of the cores, for its origins too."""

    def share(config: dict[str, Any]) -> dict[str, Any]:
        trainer = {**config["trainer"], "enable_progress_bar": False}
        return {**config, "threads": config["threads"] or threads, "trainer": trainer}

    return spec.changed(share, above=True)


def _order(specs: Sequence[RunSpec]) -> list[int]:
    """Return the places of the runs in the order in which they start.

    An origin that several share is trained by the first of them. The others would only wait for
    its lock, so they start last.
    """
    turns: list[int] = []
    seen: set[str] = set()
    for spec in specs:
        missing = {origin.id for origin in spec.origins.values() if not Run(origin).finished}
        turns.append((2 if missing & seen else 0) if missing else 1)
        seen |= missing
    return sorted(range(len(specs)), key=turns.__getitem__)


def _start_server() -> None:
    """Start the fork server; it leaves Ctrl-C to this process, also while it imports."""
    from multiprocessing import forkserver

    with handling(TERMINAL, signal.SIG_IGN):
        forkserver.ensure_running()


def preload(spec: RunSpec) -> list[str]:
    """Return the modules that a run can touch, which a fork server imports once for all like it."""
    ours = (name for name in spec.identity.code if within(name, ["suexp"]))
    return ["suexp.launch.child", "suexp.job.run", *ours]


class _Forked:
    """A child of the fork server, with subprocess.Popen's verbs."""

    def __init__(self, process: Any) -> None:
        self.process = process
        process.start()

    def wait(self) -> int:
        self.process.join()
        return int(self.process.exitcode)

    def terminate(self) -> None:
        self.process.terminate()


def _child(spec: RunSpec, parent: int) -> None:
    """Make a run in a process of its own, which does not outlive the one that asked for it."""
    follow(parent)
    from suexp.launch.child import attempt

    sys.exit(attempt(spec, tell))
