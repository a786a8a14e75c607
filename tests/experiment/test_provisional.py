"""Claims before all of their runs are there."""

import math
from typing import Any

from suexp.experiment.provisional import provisional
from suexp.judge.looks import Seeding

CLAIMS = {
    "C1": {"text": "t", "test": "x[a] < x[b]"},
    "C2": {"text": "t", "test": "every x[a] < 1.5"},
    "C3": {"text": "t", "test": "x[c] < 0"},
}
SEEDS = {arm: range(5) for arm in "abc"}


def run(arm: str, seed: int, x: float) -> dict[str, Any]:
    return {"arm": arm, "seed": seed, "status": "finished", "error": None, "metrics": {"x": x}}


def records(runs: list[dict[str, Any]], seeding: Seeding) -> dict[str, dict[str, Any]]:
    found = provisional(CLAIMS, runs, "laptop", seeding, SEEDS)
    return {record["id"]: record for record in found}


def test_what_is_there_is_judged_and_marked() -> None:
    runs = [
        run(arm, s, base + 0.01 * s * s) for s in range(3) for arm, base in (("a", 1), ("b", 2))
    ]
    runs += [run("a", 3, 1.0)]  # whose partner is not there
    found = records(runs, Seeding((0, 1, 2, 3, 4)))
    assert found["C1"]["verdict"] == "reproduced"
    assert found["C1"]["provisional"] is True
    assert found["C1"]["n"] == 3
    assert found["C2"]["verdict"] == "held in n of n"
    assert found["C2"]["provisional"] is True
    assert found["C3"]["verdict"] == "undecided"
    assert found["C3"]["reason"] == "no seed has all of its runs yet"


def test_a_counterexample_is_final() -> None:
    found = records([run("a", 0, 9.0)], Seeding((0, 1, 2, 3, 4)))
    assert found["C2"]["verdict"] == "not reproduced"
    assert "provisional" not in found["C2"]


def test_with_all_runs_nothing_is_provisional() -> None:
    runs = [
        run(arm, s, base + s * 0.1)
        for s in range(5)
        for arm, base in (("a", 1), ("b", 2), ("c", -9))
    ]
    found = records(runs, Seeding((0, 1, 2, 3, 4)))
    assert not any("provisional" in record for record in found.values())


def test_a_look_that_decided_stands() -> None:
    """Two further seeds of a sequence are there, but the verdict is that of its first look."""
    noise = (0.0, 0.01, -0.01, 5.0)
    runs = [run("a", s, x) for s, x in enumerate(noise)] + [run("b", s, 2.0) for s in range(4)]
    found = records(runs, Seeding(None, 20))
    assert found["C1"]["verdict"] == "reproduced"
    assert found["C1"]["n"] == 3
    assert "provisional" not in found["C1"]


def test_an_open_look_gives_way_to_more_seeds() -> None:
    runs = [run("a", s, x) for s, x in enumerate((0.0, 3.0, 1.0, 1.0))]
    runs += [run("b", s, 2.0) for s in range(4)]
    found = records(runs, Seeding(None, 20))
    assert found["C1"]["verdict"] == "inconclusive"
    assert found["C1"]["n"] == 4
    assert found["C1"]["provisional"] is True
    infinite = [run("a", s, 1.0) for s in range(4)] + [run("b", s, math.inf) for s in range(4)]
    assert records(infinite, Seeding(None, 20))["C1"]["judged"] == "signs"
