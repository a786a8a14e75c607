"""An experiment that adds seeds until its claims are decided."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.experiment.conduct import _seconds, conduct
from suexp.experiment.plan import plan
from suexp.store.folder import Run
from suexp.store.summary import Status, Summary

ASKED = [
    "experiment=points_in_sector",
    "only=[full,single,rejection]",
    "data.num_samples=400",
    "data.batch_size=200",
]


class Launcher:
    """Runs in this process; keeps what it was asked for; stops before a look."""

    def __init__(self, stop_before: int = 99) -> None:
        self.looks: list[list[tuple[str, str]]] = []
        self.stop_before = stop_before

    def launch(self, batch: Any, _: int) -> Any:
        if len(self.looks) == self.stop_before:
            raise KeyboardInterrupt
        named = [dict(item.split("=", 1) for item in run) for run in batch]
        self.looks.append([(run["run.arm"], run["seed"]) for run in named])
        return LocalLauncher(jobs=0).launch(batch, 0)


def results_of(out: Path, seeding: str) -> dict[str, Any]:
    (path,) = (out / "points_in_sector").glob(f"*{seeding}*/results.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_seeds_are_added_for_the_arms_of_open_claims(tmp_path: Path) -> None:
    until = "seeds={until:decided,at_most:8}"
    whole = Launcher()
    conduct([*ASKED, until, f"out={tmp_path / 'whole'}"], whole)
    results = results_of(tmp_path / "whole", "at_most")
    first = [(arm, str(seed)) for arm in ("full", "single", "rejection") for seed in range(3)]
    assert whole.looks[0] == first
    claims = {claim["id"]: claim for claim in results["claims"]}
    asked = {arm for claim in claims.values() if claim["n"] > 3 for arm in ("full", "single")}
    for count, look in zip((5, 8), whole.looks[1:], strict=False):
        assert {int(seed) for _, seed in look} == set(range(count - 2 - (count == 8), count))
        assert {arm for arm, _ in look} <= asked | {"rejection"}
    assert len(whole.looks) == {3: 1, 5: 2, 8: 3}[max(claim["n"] for claim in claims.values())]
    for claim in claims.values():
        assert len(claim["per_seed"]) == claim["n"]
        # An exact claim holds of every run there is; only the others are looked at.
        assert ("looks" in claim) == (claim["judged"] != "exact")
        looks = [look["n"] for look in claim.get("looks", [])]
        assert looks == [3, 5, 8][: len(looks)]

    # Stopped before its second look, and gone on with: the same verdicts.
    stopped = Launcher(stop_before=1)
    command = [*ASKED, until, f"out={tmp_path / 'stopped'}"]
    with pytest.raises(KeyboardInterrupt):
        conduct(command, stopped)
    partial = results_of(tmp_path / "stopped", "at_most")
    assert {claim["n"] for claim in partial["claims"] if claim["n"]} == {3}
    conduct(command, Launcher())
    again = results_of(tmp_path / "stopped", "at_most")
    for one, other in zip(results["claims"], again["claims"], strict=True):
        drop = {"needs", "created"}  # of times
        assert {k: v for k, v in one.items() if k not in drop} == {
            k: v for k, v in other.items() if k not in drop
        }


def test_runs_that_a_look_asked_for_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One claim still asks for an early look of arms that another took further."""
    asked = iter([{"full": 5}, {"full": 8}, {"full": 5}])
    monkeypatch.setattr("suexp.experiment.conduct._further", lambda _: next(asked))
    launcher = Launcher()
    conduct([*ASKED, "only=[full]", "seeds={until:decided,at_most:8}", f"out={tmp_path}"], launcher)
    assert [len(look) for look in launcher.looks] == [3, 2, 3]
    assert len(results_of(tmp_path, "at_most")["runs"]) == 8


def test_a_budget_stops_between_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launcher = Launcher()
    limited = "seeds={until:decided,at_most:8,budget:0.1s}"
    conduct([*ASKED, "only=[full]", limited, f"out={tmp_path}"], launcher)
    assert len(launcher.looks) == 1
    said = capsys.readouterr().err
    assert "over the budget; seeds.budget=1m goes on" in said.replace("\n", " ")


def test_the_budget_pays_for_the_runs_that_others_start_from(tmp_path: Path) -> None:
    parent = 'parent=["model.num_layers=1"]'
    seeds = "seeds={until:decided,at_most:8,budget:1m}"
    asked = [f"out={tmp_path}", "experiment=lion", "only=[adamw]", seeds, "tune=null", parent]
    (item,) = plan(asked)
    runs = item.runs()
    made = [{"arm": "adamw", "id": run.run.id, "cost": {"wall_seconds": 60.0}} for run in runs]
    # Those of two more seeds are there, too, as when a command is given again.
    later = replace(item, asked={"adamw": 5}).runs()
    for planned in [*runs, later[4]]:
        run = Run(planned.run.spec.origins["parent"])
        run.folder.mkdir(parents=True)
        cost = {"wall_seconds": 600.0}
        run.finish(Summary(run.folder, run.id, Status.FINISHED, cost=cost))
    assert _seconds(item, made, {"adamw": 5}) == (3 * 60 + 3 * 600, 2 * 60 + 2 * 600)
    assert _seconds(item, made, {}) == (3 * 60 + 3 * 600, 0)


def test_other_seeds_after_a_look_are_told(tmp_path: Path) -> None:
    base = [*ASKED, "only=[full]", f"out={tmp_path}"]
    conduct([*base, "seed=0,1"], Launcher())
    assert results_of(tmp_path, "seed=0,1")["peeked"] == []
    conduct([*base, "seed=0,1,2"], Launcher())
    assert results_of(tmp_path, "seed=0,1,2")["peeked"] == ["0, 1"]
    text = next((tmp_path / "points_in_sector").glob("*seed=0,1,2*/report.md")).read_text()
    assert "Not valid under peeking: this was looked at before with other seeds (0, 1)" in text
