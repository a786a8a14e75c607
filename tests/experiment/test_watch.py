"""What is seen while an experiment's runs are made."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.experiment import watch
from suexp.experiment.conduct import conduct
from suexp.experiment.earlier import earlier
from suexp.experiment.plan import Planned, plan
from suexp.experiment.watch import Watch
from suexp.launch.watching import Watcher, watched_by, watcher
from suexp.store.folder import Run
from suexp.store.summary import Status, Summary

ASKED = [
    "experiment=points_in_sector",
    "only=[full,single,rejection]",
    "data.num_samples=400",
    "data.batch_size=200",
]


class Clock:
    """Moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    found = Clock()
    monkeypatch.setattr(watch, "time", found)
    return found


def claims(*verdicts: str) -> list[dict[str, Any]]:
    return [
        {"id": f"C{i}", "verdict": v, "n": 2, "provisional": True}
        for i, v in enumerate(verdicts, 1)
    ]


def watching(tmp_path: Path, jobs: int = 1, **times: float) -> tuple[Watch, list[dict[str, Any]]]:
    """Return a watch, and how far it said that things were at each look."""
    (item,) = plan([*ASKED, f"out={tmp_path}", "seeds=[0,1]"])
    seen: list[dict[str, Any]] = []

    def look(there: Any, partial: dict[str, Any]) -> list[dict[str, Any]]:
        seen.append(partial)
        return claims("inconclusive") if partial["done"] < 2 else claims("reproduced")

    return Watch(item, jobs, times, look), seen


def end(watched: Watch, number: int, seconds: float, **metrics: float) -> None:
    run = watched.item.runs()[number].run
    summary = Summary(run.folder, run.id, Status.FINISHED, metrics=metrics)
    summary.cost = {"wall_seconds": seconds}
    watcher().ended(run.spec, summary, seconds)


def test_one_line_says_what_it_will_take(tmp_path: Path, capsys: Any) -> None:
    watched, _ = watching(tmp_path, jobs=2, full=60.0, single=30.0, rejection=30.0)
    watched.announce("at laptop scale", watched.item.runs())
    line = "points_in_sector: 6 runs at laptop scale; about 2 min, 2 at a time\n"
    assert capsys.readouterr().err == line
    unknown, _ = watching(tmp_path)
    unknown.announce("at laptop scale", unknown.item.runs())
    assert "known when the first has ended" in capsys.readouterr().err


def test_lines_where_there_is_no_terminal(tmp_path: Path, capsys: Any, clock: Clock) -> None:
    watched, seen = watching(tmp_path)
    runs = watched.item.runs()
    with watched.over(runs):
        watcher().begins([run.run.spec for run in runs], apart=True)
        clock.now += 10
        end(watched, 0, 10.0)
        clock.now += 1
        end(watched, 1, 10.0)  # too soon for another look
        clock.now += 10
        end(watched, 2, 10.0, **{"train/diverged": 1.0, "train/diverged_at": 7.0})
    assert capsys.readouterr().err.splitlines() == [
        "full seed 0 (10.0 s); 1 of 6, about 50 s left",
        "full seed 1 (10.0 s); 2 of 6, about 40 s left",
        "single seed 0: diverged at step 7 (10.0 s); 3 of 6, about 30 s left; so far C1 reproduced "
        "(2 seeds)",
    ]
    assert [partial["done"] for partial in seen] == [0, 1, 3]
    assert seen[-1] == {"done": 3, "of": 6, "seconds": 30.0, "running": True}
    assert watched.partial(running=False)["running"] is False


def test_a_bar_where_there_is_one(tmp_path: Path, clock: Clock) -> None:
    watched, _ = watching(tmp_path, full=10.0)
    screen = io.StringIO()
    watched._console = Console(file=screen, force_terminal=True, width=120)
    runs = watched.item.runs()
    with watched.over(runs):
        watcher().begins([run.run.spec for run in runs], apart=True)
        clock.now += 10
        end(watched, 0, 10.0)
        clock.now += 10
        end(watched, 1, 10.0)
        assert watched._bar is not None
        watched._bar.refresh()
    text = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", screen.getvalue())
    assert "2/6" in text
    assert "40 s left" in text
    assert "1 reproduced" in text
    assert watched._bar is None


def test_a_run_in_this_process_has_the_bar_for_itself(tmp_path: Path) -> None:
    watched, _ = watching(tmp_path)
    watched._console = Console(file=io.StringIO(), force_terminal=True)
    with watched.over(watched.item.runs()):
        watcher().begins([run.run.spec for run in watched.item.runs()], apart=False)
        assert watched._bar is None


def test_arms_that_share_a_run_are_both_there(tmp_path: Path, capsys: Any, clock: Clock) -> None:
    watched, _ = watching(tmp_path)
    shown: list[list[str | None]] = []

    def look(there: Any, _: Any) -> list[dict[str, Any]]:
        shown.append([run.arm for run in there])
        return []

    watched._look = look
    one = watched.item.runs()[0]
    two = [one, Planned(one.overrides, "other", 0)]
    watched.announce("", two)
    with watched.over(two):
        clock.now += 10
        end(watched, 0, 1.0)
    assert shown == [[], ["full", "other"]]
    said = capsys.readouterr().err
    assert said.startswith("points_in_sector: 1 run ")
    assert "; 1 of 1" in said
    with watched.over(two):  # the next look: it is not made again
        assert watched.partial(running=True)["done"] == 1


def test_runs_that_others_start_from_take_their_time(tmp_path: Path, capsys: Any) -> None:
    """Each seed's parent, which is no arm, counts as long as one that has ended."""
    parent = 'parent=["model.num_layers=1"]'
    (item,) = plan(
        [f"out={tmp_path}", "experiment=lion", "only=[adamw]", "seeds=[0,1,2]", "tune=null", parent]
    )
    runs = item.runs()
    watched = Watch(item, 1, {"adamw": 60.0}, lambda *_: [])
    watched.announce("", runs)
    assert "about 3 min" in capsys.readouterr().err  # of parents nothing is known
    first = Run(runs[0].run.spec.origins["parent"])
    first.folder.mkdir(parents=True)
    summary = Summary(first.folder, first.id, Status.FINISHED)
    summary.cost = {"wall_seconds": 600.0}
    first.finish(summary)
    watched.announce("", runs)
    assert "about 23 min" in capsys.readouterr().err


def test_a_look_that_fails_stops_nothing(tmp_path: Path, capsys: Any, clock: Clock) -> None:
    watched, _ = watching(tmp_path)

    def broken(*_: Any) -> Any:
        raise ValueError

    watched._look = broken
    with watched.over(watched.item.runs()):
        clock.now += 10
        end(watched, 0, 10.0)
    assert "full seed 0 (10.0 s); 1 of 6" in capsys.readouterr().err


def test_another_hears_of_runs_for_a_while_only() -> None:
    before, other = watcher(), Watcher()
    heard = []

    def stopped() -> None:
        with watched_by(other):
            heard.append(watcher())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert heard == [other]
    assert watcher() is before


def test_times_of_earlier_runs_are_of_the_same_scale(tmp_path: Path) -> None:
    (item,) = plan([*ASKED, f"out={tmp_path}"])
    assert earlier(item, tmp_path)["full"] > 0  # recorded
    own = {"arm": "full", "status": "finished", "cost": {"wall_seconds": 77.0}}
    kept = {"scale": "laptop", "runs": [own, {**own, "status": "failed", "cost": {}}]}
    (tmp_path / "results.json").write_text(json.dumps(kept))
    assert earlier(item, tmp_path)["full"] == 77
    (tmp_path / "results.json").write_text(json.dumps({**kept, "scale": "paper"}))
    assert earlier(item, tmp_path)["full"] != 77
    (tmp_path / "results.json").write_text("{")
    assert earlier(item, tmp_path)["full"] > 0


class Interrupting:
    """Runs the first of what it is given, then is stopped."""

    def launch(self, batch: Any, _: int) -> Any:
        LocalLauncher(jobs=0).launch(batch[:4], 0)
        assert 'http-equiv="refresh"' in self.page.read_text()
        raise KeyboardInterrupt

    page = Path()


@pytest.mark.slow
def test_ctrl_c_leaves_a_card_of_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.0)
    (item,) = plan([*ASKED, f"out={tmp_path}", "seeds=[0,1,2]"])
    folder = tmp_path / "points_in_sector" / item.folder_name
    launcher = Interrupting()
    launcher.page = folder / "report.html"
    with pytest.raises(KeyboardInterrupt):
        conduct([*ASKED, f"out={tmp_path}", "seeds=[0,1,2]"], launcher)
    results = json.loads((folder / "results.json").read_text())
    assert results["partial"]["done"] == 4
    assert results["partial"]["of"] == 9
    assert results["partial"]["running"] is False
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text()
        assert "Partial, the experiment was stopped: 4 of 9 runs are there" in text
        assert 'http-equiv="refresh"' not in text
    conduct([*ASKED, f"out={tmp_path}", "seeds=[0,1,2]"], LocalLauncher(jobs=0))
    assert "partial" not in json.loads((folder / "results.json").read_text())
    assert "Partial" not in (folder / "report.html").read_text()
