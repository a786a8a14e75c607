import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.runner import compose, signature
from suexp.runner.compose import resolve
from suexp.runner.conduct import conduct
from suexp.runner.local import _as_child, _order
from suexp.runner.store import Run
from suexp.runner.sweep import flatten, plan


def config(out: Path, seed: int, parent: str | None = None) -> dict[str, Any]:
    own = [] if parent is None else [f"parent=['{parent}']"]
    return resolve((f"seed={seed}", f"out={out}", *own)).config


def test_runs_that_wait_for_a_shared_parent_start_last(tmp_path: Path) -> None:
    """Two share a parent of seed 7, one has its own; the plain runs fill the time."""
    shared, other = "seed=7", "seed=8"
    runs = [(0, shared), (1, shared), (2, None), (3, other), (4, None)]
    configs = [config(tmp_path, *run) for run in runs]
    assert _order(configs) == [0, 3, 2, 4, 1]


def test_a_finished_parent_keeps_nobody_waiting(tmp_path: Path, monkeypatch) -> None:
    configs = [config(tmp_path, 0, "seed=7"), config(tmp_path, 1, "seed=7"), config(tmp_path, 2)]
    monkeypatch.setattr("suexp.runner.store.Run.finished", True)
    assert _order(configs) == [0, 1, 2]


def test_parents_of_a_child_process_share_its_threads() -> None:
    """Else each would train on all cores, beside the other processes' parents."""
    config = resolve(flatten([{"parent": ["seed=2", {"parent": ["seed=3"]}]}])).config
    own = _as_child(config, 1)
    assert (own["threads"], own["parent"]["threads"], own["parent"]["parent"]["threads"]) == (
        1,
    ) * 3
    assert not own["parent"]["parent"]["trainer"]["enable_progress_bar"]
    assert Run(own["parent"]).id == Run(config["parent"]).id
    assert config["threads"] is None


def test_finished_runs_are_found_by_little_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Runs that differ in their seed are composed once, and each one's summary is read twice."""
    arguments = (f"out={tmp_path}", "seed=" + ",".join(map(str, range(30))))
    runs = [planned.run for item in plan(arguments) for planned in item.runs()]
    for run in runs:
        run.folder.mkdir(parents=True)
        run.finish({"status": "finished", "error": None, "metrics": {"val/loss": 1.0}})
    counts: Counter[str] = Counter()

    def counted(where: Any, name: str) -> None:
        own = getattr(where, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return own(*args, **kwargs)

        monkeypatch.setattr(where, name, call)

    for cache in (compose._resolve, compose._composed, compose._chosen, signature._data):
        cache.cache_clear()
    counted(compose, "_compose")
    counted(signature, "instantiate")
    counted(Run, "summary")
    monkeypatch.delitem(sys.modules, "suexp.runner.job", raising=False)
    assert conduct(arguments, LocalLauncher(None)) == 0
    assert "suexp.runner.job" not in sys.modules  # nor torch
    assert counts == {"_compose": 1, "instantiate": 1, "summary": 60}
    assert "30 of 30 runs are finished already" in capfd.readouterr().err
