"""One's own idea as one more arm: what it is made of, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest

from suexp.config.catalogue import Catalogue
from suexp.config.compose import resolve
from suexp.config.hydra_internals import loader
from suexp.errors import UserError
from suexp.experiment import gather
from suexp.experiment.adding import Added
from suexp.experiment.plan import Plan, plan
from suexp.experiment.schema import check
from suexp.store.summary import Status

SMOKE = ("experiment=attention_matrix", "scale=smoke", "only=[softmax,performer]")
HEADER: dict[str, Any] = {
    "slug": "lion",
    "arms": {"adamw": ["optimizer=adamw", "optimizer.lr=1e-3"], "lion": ["optimizer=lion"]},
    "tune": {
        "parameter": "optimizer.lr",
        "grid": {"adamw": [1, 2], "lion": [3]},
        "points": {"adamw": [(1,), (2,)], "lion": [(3,)]},
        "apart": ["lion"],
    },
}


def planned(*overrides: str) -> Plan:
    with loader(None):
        (found,) = plan([*SMOKE, *overrides])
    return found


def test_it_has_the_settings_of_the_arm_that_it_is_like_and_its_own() -> None:
    found = planned("add=mine", "like=performer", "attention=linear", "model.dim=32", "out=x")
    assert found.header is not None
    arms = found.header["arms"]
    assert list(arms) == ["softmax", "performer", "mine"]
    assert [item for item in arms["performer"] if item not in arms["mine"]] == [
        "attention=performer",
        "attention.num_features=64",
    ]
    assert arms["mine"][-2:] == ["attention=linear", "model.dim=32"]
    assert found.user == ("scale=smoke", "out=x")
    configs = {run.arm: run.config for run in found.runs()}
    assert configs["mine"]["attention"]["_target_"] == "suexp.attention.linear.Linear"
    assert {arm: config["model"]["dim"] for arm, config in configs.items()} == {
        "softmax": 64,
        "performer": 64,
        "mine": 32,
    }


def test_the_others_are_the_very_runs_of_the_experiment() -> None:
    with loader(None):
        (plain,) = plan(SMOKE)
    added = planned("add=mine", "attention=linear")
    ids = {run.run.id for run in plain.runs()}
    assert {run.run.id for run in added.runs() if run.arm != "mine"} == ids


def test_the_folder_is_short_and_tells_ideas_apart() -> None:
    names = [
        planned("add=mine", *own).folder_name
        for own in (["attention=linear"], ["attention=linear", "model.dim=32"])
    ]
    assert all(re.fullmatch(r"smoke,add=mine-[0-9a-f]{8}", name) for name in names)
    assert len({*names}) == 2


def test_it_is_tuned_as_the_arm_that_it_is_like() -> None:
    tune = Added("mine", "lion", ("optimizer=tiger",)).into(HEADER)["tune"]
    assert tune["grid"] == {"adamw": [1, 2], "lion": [3], "mine": [3]}
    assert tune["points"]["mine"] == [(3,)]
    assert tune["apart"] == ["lion", "mine"]
    fixed = Added("mine", None, ("optimizer.lr=0.1",)).into(HEADER)
    assert "mine" not in fixed["tune"]["grid"]
    assert fixed["arms"]["mine"] == ["optimizer=adamw", "optimizer.lr=0.1"]


def test_a_recorded_run_stands_where_none_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    found = planned("add=mine", "attention=linear", "out=nowhere")
    (softmax,) = [run for run in found.runs() if run.arm == "softmax"]
    entry = {"id": softmax.run.id, "arm": "x", "seed": 0, "status": "finished", "metrics": {"a": 1}}
    monkeypatch.setitem(found.__dict__, "record", {softmax.run.id: entry})
    entries = {item["arm"]: item for item in gather.entries(found)}
    assert entries["softmax"]["metrics"] == {"a": 1}
    assert entries["softmax"]["recorded"]
    assert entries["mine"]["status"] == Status.INTERRUPTED


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["add=mine"], "add=mine: say what is new in it, for example attention=mine"),
        (["add=mine", "out=x"], "add=mine: say what is new in it"),
        (["like=softmax", "attention=linear"], "like=softmax: name the arm that is added"),
        (["add=a-b", "attention=linear"], "add=a-b: an arm's name is letters, digits and _"),
        (["add=softmax", "attention=linear"], "add=softmax: experiment=attention_matrix has such"),
        (
            ["add=mine", "like=softmx", "attention=linear"],
            "like=softmx: experiment=attention_matrix has no such arm; did you mean softmax?",
        ),
    ],
)
def test_refusals(words: list[str], line: str) -> None:
    with pytest.raises(UserError, match=re.escape(line)):
        planned(*words)


def test_a_single_run_has_no_arms() -> None:
    with loader(None), pytest.raises(UserError, match="only an experiment has arms"):
        plan(["add=mine", "attention=linear"])
    with pytest.raises(UserError, match=r"^add: only an experiment has arms"):
        resolve(["add=mine", "attention=linear"])


def test_no_file_adds_an_arm(tmp_path: Path) -> None:
    path = tmp_path / "experiment" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(
        "# @package _global_\npost: {slug: mine, title: M}\nseeds: [0]\narms: {a: {}}\nadd: b\n"
    )
    with pytest.raises(UserError, match="add"):
        check(Catalogue(str(tmp_path)).option("experiment", "mine"))
