"""Grids that go on until their best value is inside."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suexp.errors import UserError
from suexp.experiment.conduct import _metric
from suexp.experiment.plan import choose, plan
from suexp.experiment.tuning import beyond, name_of, on_edge
from suexp.store.summary import Status, Summary


def lrs(*values: float) -> list[dict[str, Any]]:
    return [{"optimizer.lr": value} for value in values]


@pytest.mark.parametrize(
    ("tried", "given", "best", "further"),
    [
        ([1e-3, 3e-3, 1e-2], 3, 1e-2, [0.033]),
        ([1e-3, 3e-3, 1e-2], 3, 1e-3, [0.00033]),
        ([1e-3, 3e-3, 1e-2], 3, 3e-3, []),
        ([1e-3, 1e-2], 2, 1e-2, [0.1]),
        ([0.1, 0.2, 0.4, 0.8], 2, 0.8, []),  # two steps beyond
        ([0.1, 0.2, 0.4], 2, 0.4, [0.8]),
        ([2, 4, 8], 3, 8, [16]),
        ([1, 2, 4], 3, 1, []),  # a whole number stays one
        ([0.5], 1, 0.5, []),
        ([0.0, 0.1], 2, 0.0, []),  # no factor leads beyond 0
        ([-1.0, 1.0], 2, 1.0, []),
    ],
)
def test_one_step_beyond_the_edge(tried, given, best, further):
    assert beyond(lrs(*tried), given, *lrs(best)) == lrs(*further)


def test_several_keys_each_have_their_edge():
    points = [{"a": a, "b": b, "c": "x"} for a in (1, 2) for b in (0.1, 0.3)]
    assert beyond(points, 4, points[3]) == [
        {"a": 4, "b": 0.3, "c": "x"},
        {"a": 2, "b": 0.9, "c": "x"},
    ]
    assert on_edge(points, points[3]) == ["a", "b"]
    inside = [*points, {"a": 4, "b": 0.3, "c": "x"}, {"a": 2, "b": 0.9, "c": "x"}]
    assert on_edge(inside, points[3]) == []
    assert name_of(points[0], "a") == "a=1 b=0.1 c=x"
    assert name_of({"a": 1}, "a") == 1


def test_a_plan_reaches_until_the_best_is_inside():
    (item,) = plan(["experiment=lion", "only=[adamw,lion]"])

    def score(run: Any) -> float:
        """Best at 0.05, three steps beyond lion's grid, one beyond adamw's."""
        return abs(run.config["optimizer"]["lr"] - 0.035)

    sizes = []
    while item.reach(score):
        sizes.append({arm: len(runs) for arm, runs in item.tuning().items()})
    assert sizes == [{"adamw": 4, "lion": 4}, {"adamw": 5, "lion": 5}]
    assert [*item.tuning()["adamw"]] == [1e-3, 3e-3, 1e-2, 0.033, 0.11]
    assert [*item.tuning()["lion"]] == [3e-4, 1e-3, 3e-3, 0.009, 0.027]


def test_what_cannot_be_run_ends_the_search():
    (item,) = plan(["experiment=lion", "only=[lion]"])
    tune = item.header["tune"]  # type: ignore[index]
    tune["parameter"] = "model.num_heads"
    tune["points"] = {"lion": [{"model.num_heads": 16}, {"model.num_heads": 48}]}
    tune["grid"] = {"lion": [16, 48]}
    assert item.reach(lambda run: -run.config["model"]["num_heads"]) is False  # 144 of 96
    assert [*item.tuning()["lion"]] == [16, 48]


def test_the_rows_that_judge_do_not_choose():
    (item,) = plan(["experiment=lion", "only=[adamw]"])
    (run, *_) = item.tuning()["adamw"].values()
    assert run.config["tune_fraction"] == 0.1
    assert item.runs()[0].config["tune_fraction"] == 0


def test_rows_of_validation_choose_where_a_test_split_judges() -> None:
    """The classifiers of taylor_softmax are judged on test rows, its language models are not."""
    (item,) = plan(["experiment=taylor_softmax", "only=[softmax,taylor4,attention_elu]"])
    fractions = {
        arm: {run.config["tune_fraction"] for run in runs.values()}
        for arm, runs in item.tuning().items()
    }
    assert fractions == {"softmax": {0}, "taylor4": {0}, "attention_elu": {0.1}}


def test_arms_that_a_claim_compares_have_equal_searches() -> None:
    with pytest.raises(
        UserError, match=r"claims\.C1 compares arms with unequal .*: adamw 2, lion 3"
    ):
        plan(["experiment=lion", "tune.grid.adamw=[1e-3,1e-2]"])


def test_a_value_that_diverges_is_the_right_edge_of_the_grid():
    (item,) = plan(["experiment=lion", "only=[adamw]"])

    def score(run: Any) -> float:
        """The larger the better, until it diverges."""
        lr = run.config["optimizer"]["lr"]
        return math.inf if lr >= 1e-2 else -lr

    assert item.reach(score) is False
    assert choose(item, score) == {"adamw": 3e-3}


@pytest.mark.parametrize(("mode", "worst"), [("min", math.inf), ("max", -math.inf)])
def test_a_run_that_diverged_loses_whatever_its_metric(tmp_path: Path, mode: str, worst: float):
    (item,) = plan(["experiment=lion", "only=[adamw]"])
    item.header["tune"] |= {"mode": mode}  # type: ignore[index]
    ended = {"val/loss": 0.5, "train/diverged": 1.0, "train/diverged_at": 37.0}
    summary = Summary(tmp_path, "a", Status.FINISHED, metrics=ended)
    run = SimpleNamespace(run=SimpleNamespace(summary=lambda: summary))
    assert _metric(item, run) == worst  # type: ignore[arg-type]
    summary.metrics["train/diverged"] = 0.0
    assert _metric(item, run) == 0.5  # type: ignore[arg-type]
