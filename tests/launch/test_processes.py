import signal
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.config import compose
from suexp.experiment.conduct import conduct
from suexp.experiment.plan import plan
from suexp.experiment.settings import overrides
from suexp.launch import processes
from suexp.launch.processes import _as_child, _order, preload, run_all, run_elsewhere
from suexp.launch.spec import spec_of
from suexp.store import identity
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from suexp.store.summary import Status, Summary
from tests.support.tiny import forget_compositions


def config(out: Path, seed: int, parent: str | None = None) -> RunSpec:
    own = [] if parent is None else [f"parent=['{parent}']"]
    return spec_of((f"seed={seed}", f"out={out}", *own))


def test_runs_that_wait_for_a_shared_parent_start_last(tmp_path: Path) -> None:
    """Two share a parent of seed 7, one has its own; the plain runs fill the time."""
    shared, other = "seed=7", "seed=8"
    runs = [(0, shared), (1, shared), (2, None), (3, other), (4, None)]
    configs = [config(tmp_path, *run) for run in runs]
    assert _order(configs) == [0, 3, 2, 4, 1]


def test_a_finished_parent_keeps_nobody_waiting(tmp_path: Path, monkeypatch) -> None:
    configs = [config(tmp_path, 0, "seed=7"), config(tmp_path, 1, "seed=7"), config(tmp_path, 2)]
    monkeypatch.setattr("suexp.store.folder.Run.finished", True)
    assert _order(configs) == [0, 1, 2]


def test_the_fork_server_imports_what_runs_are_built_of(tmp_path: Path) -> None:
    """Else each of its children would."""
    own = (f"out={tmp_path}", "attention=performer", "logger=none")
    spec = spec_of(own)
    modules = preload(spec)
    assert {"suexp.attention.performer", "suexp.task.causal_lm", "suexp.data.pydoc"} <= {*modules}
    assert "suexp.attention.softmax" not in modules
    code = {**spec.identity.code, "my_package.model": "0"}
    assert preload(replace(spec, identity=replace(spec.identity, code=code))) == modules


def test_parents_of_a_child_process_share_its_threads() -> None:
    """Else each would train on all cores, beside the other processes' parents."""
    config = spec_of(overrides({"from": {"seed": 2, "from": {"seed": 3}}}, {}))
    own = _as_child(config, 1)
    parent = own.origins["parent"]
    family = (own, parent, parent.origins["parent"])
    assert [member.config["threads"] for member in family] == [1, 1, 1]
    assert not family[-1].config["trainer"]["enable_progress_bar"]
    assert own.origins["parent"].id == config.origins["parent"].id
    assert config.config["threads"] is None


def test_finished_runs_are_found_by_little_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Runs that differ in their seed are composed once, and each one's summary is read four times.

    Once it is found, once it is shown, twice for the sweep's report.
    """
    arguments = (f"out={tmp_path}", "seed=" + ",".join(map(str, range(30))))
    runs = [planned.run for item in plan(arguments) for planned in item.runs()]
    for run in runs:
        run.folder.mkdir(parents=True)
        run.finish(Summary(run.folder, run.id, Status.FINISHED, metrics={"val/loss": 1.0}))
    counts: Counter[str] = Counter()

    def counted(where: Any, name: str) -> None:
        own = getattr(where, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return own(*args, **kwargs)

        monkeypatch.setattr(where, name, call)

    forget_compositions()
    identity._data.cache_clear()
    counted(compose, "_compose")
    counted(identity, "instantiate")
    counted(Run, "summary")
    monkeypatch.delitem(sys.modules, "suexp.job.run", raising=False)
    assert conduct(arguments, LocalLauncher(None)) == 0
    assert "suexp.job.run" not in sys.modules  # nor torch
    assert counts == {"_compose": 1, "instantiate": 1, "summary": 120}
    assert "30 of 30 runs are finished already" in capfd.readouterr().err


@pytest.mark.parametrize(("on_error", "begun"), [("continue", [0, 1]), ("stop", [0])])
@pytest.mark.parametrize("engine", ["in process", "processes"])
def test_a_failed_run_stops_the_others_only_if_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, on_error: str, begun: list[int]
) -> None:
    """The same for all launchers: those of children, of submitit and of Ray share the second."""
    seen = []

    def fails(spec: RunSpec, *_: Any) -> Any:
        seen.append(spec.seed)
        run = Run(spec)
        run.folder.mkdir(parents=True)
        summary = Summary(run.folder, run.id, error="no")
        run.finish(summary)
        return summary if engine == "in process" else SimpleNamespace(wait=lambda: 1)

    batch = [(f"out={tmp_path}", f"on_error={on_error}", f"seed={seed}") for seed in (0, 1)]
    if engine == "in process":
        monkeypatch.setattr("suexp.job.run.execute", fails)
        summaries = run_all(batch, 0)
    else:
        summaries = run_elsewhere(batch, 1, 1, fails, 0)
    assert seen == begun
    assert [summary and summary.status for summary in summaries] == [
        "failed" if seed in begun else None for seed in (0, 1)
    ]


def test_a_sweep_ends_with_a_table_of_what_became_of_its_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Launcher:
        def launch(self, batch: Any, _: int) -> None:
            for seed, status in ((0, "finished"), (1, "failed")):
                run = Run(config(tmp_path, seed))
                run.folder.mkdir(parents=True)
                run.finish(Summary(run.folder, run.id, Status(status), metrics={"val/loss": 1.25}))

    assert conduct((f"out={tmp_path}", "seed=0,1,2"), Launcher()) == 2
    told = capsys.readouterr().out
    for seed, status in enumerate(("finished", "failed", "died")):
        line = next(line for line in told.splitlines() if Run(config(tmp_path, seed)).id in line)
        assert status in line
        assert ("val/loss 1.25" in line) == (seed < 2)


class Waiting:
    """A process that ends once it was asked to so often."""

    def __init__(self, times: int) -> None:
        self.left, self.over = times, threading.Event()

    def wait(self) -> int:
        assert self.over.wait(60)
        return 130

    def terminate(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.over.set()
        else:
            ctrl_c()


def ctrl_c() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_ctrl_c_reaches_every_run_each_time(tmp_path: Path) -> None:
    """The first process ends when it is asked twice, and Ctrl-C comes as it is asked."""
    waiting = [Waiting(2), Waiting(1)]
    begun: list[int] = []

    def begin(spec: RunSpec) -> Waiting:
        begun.append(spec.seed)
        if len(begun) == 2:
            ctrl_c()
        return waiting[spec.seed]

    batch = [(f"out={tmp_path}", f"seed={seed}") for seed in (0, 1, 2)]
    with pytest.raises(KeyboardInterrupt):
        run_elsewhere(batch, 2, 1, begin, retries=3)
    assert sorted(begun) == [0, 1]
    assert all(process.over.is_set() for process in waiting)


def test_a_process_that_begins_while_all_are_asked_to_stop_is_asked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, asked = Waiting(1), threading.Event()
    end = processes._end

    def watched(*arguments: Any) -> None:
        asked.set()
        end(*arguments)

    def begin(_: RunSpec) -> Waiting:
        for _ in range(20):  # Python forgets one that comes while it clears up an object
            ctrl_c()
            if asked.wait(10):  # a second one, too early, would be the user's "at once"
                return process
        raise AssertionError("nobody was asked")

    monkeypatch.setattr(processes, "_end", watched)
    with pytest.raises(KeyboardInterrupt):
        run_elsewhere([(f"out={tmp_path}",)], 1, 1, begin, retries=0)
    assert process.over.is_set()
