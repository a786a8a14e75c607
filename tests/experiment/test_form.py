"""What a scale makes of an experiment."""

from typing import Any

import pytest

from suexp.experiment.form import expand
from suexp.experiment.settings import Mistake

FORM: dict[str, Any] = {
    "post": {"slug": "f", "title": "F"},
    "base": {"data": {"patch": 2}},
    "let": {"two": {"model.num_layers": 2}},
    "arms": {"one": {}, "two": "two", "hot": ["two", {"optimizer.lr": 0.1}], "both": ["hot"]},
    "seeds": [0, 1],
    "tune": {"parameter": "p", "seed": 9, "metric": "m", "grid": {"two": [1, 2]}},
    "claims": {
        "C1": {"text": "t", "test": "x[one] < x[two]"},
        "C2": {"text": "t", "test": "x[hot] < x[two]"},
        "C3": {"text": "t", "test": "x[new] < x[two]", "scale": "paper"},
    },
    "figures": {
        "f": {"kind": "bar", "y": "x", "arms": ["one", "hot"]},
        "g": {"kind": "bar", "y": "x"},
    },
    "scales": {
        "smoke": {"seeds": [7], "tune": None, "overrides": ["two", {"trainer.max_steps": 1}]},
        "paper": {
            "only": ["two", "one", "new"],
            "base": ["two", {"data": "hub"}],
            "let": {"two": {"model.num_layers": 12}},
            "arms": {"new": {"optimizer.lr": 1.0}},
            "claims": {"C4": {"text": "t", "test": "x[new] < x[one]"}},
        },
    },
}


def test_arms_start_with_the_base_and_name_let_before_arms() -> None:
    now = expand(FORM, "laptop")
    assert now["arms"] == {
        "one": ["data.patch=2"],
        "two": ["data.patch=2", "model.num_layers=2"],
        "hot": ["data.patch=2", "model.num_layers=2", "optimizer.lr=0.1"],
        "both": ["data.patch=2", "model.num_layers=2", "optimizer.lr=0.1"],
    }
    assert now["base"] == ["data.patch=2"]
    assert now["overrides"] == []
    assert now["seeds"] == [0, 1]
    assert list(now["claims"]) == ["C1", "C2"]
    assert list(now["figures"]) == ["f", "g"]


def test_a_scale_s_overrides_and_what_it_replaces() -> None:
    now = expand(FORM, "smoke")
    assert now["overrides"] == ["model.num_layers=2", "trainer.max_steps=1"]
    assert now["seeds"] == [7]
    assert now["tune"] is None
    assert now["arms"] == expand(FORM, "laptop")["arms"]


def test_a_scale_leaves_arms_out_with_their_claims_and_figures() -> None:
    now = expand(FORM, "paper")
    base = ["model.num_layers=12", "data=hub"]
    assert now["arms"] == {
        "two": [*base, "model.num_layers=12"],
        "one": base,
        "new": [*base, "optimizer.lr=1.0"],
    }
    assert list(now["claims"]) == ["C4"]
    assert list(now["figures"]) == ["g"]
    inherited = {**FORM["scales"]["paper"]}
    del inherited["claims"]
    now = expand({**FORM, "scales": {"paper": inherited}}, "paper")
    assert list(now["claims"]) == ["C1", "C3"]


def test_the_user_s_choice_of_arms_keeps_the_figures() -> None:
    now = expand({**FORM, "only": ["one"]}, "laptop")
    assert list(now["arms"]) == ["one"]
    assert list(now["claims"]) == []
    assert list(now["figures"]) == ["f", "g"]


def test_a_grid_of_several_keys_is_all_their_combinations() -> None:
    tune = {**FORM["tune"], "grid": {"two": {"a.b": [1, 2], "c": ["x", 1e-3]}, "one": [1e-3]}}
    tune["unequal"] = "these are names"
    grid = expand({**FORM, "tune": tune}, "laptop")["tune"]["grid"]
    assert grid == {
        "two": ["a.b=1 c=x", "a.b=1 c=1e-3", "a.b=2 c=x", "a.b=2 c=1e-3"],
        "one": [1e-3],
    }


@pytest.mark.parametrize(
    ("changes", "keys", "message"),
    [
        ({"arms": {"one": "tow"}}, ("arms", "one"), "did you mean two?"),
        ({"scales": {"paper": {"only": ["tow"]}}}, ("scales", "paper", "only"), "no arm 'tow'"),
        (
            {"scales": {"paper": {"let": {"two": ["two"]}}}},
            ("scales", "paper", "let", "two", 0),
            "two -> two",
        ),
        (
            {"scales": {"paper": {"only": ["one"], "claims": FORM["claims"]}}},
            ("scales", "paper", "claims", "C1"),
            "unknown arm 'two'",
        ),
    ],
)
def test_a_mistake_is_placed(changes: dict[str, Any], keys: tuple[str, ...], message: str) -> None:
    with pytest.raises(Mistake, match=message) as raised:
        expand({**FORM, **changes}, "paper")
    assert raised.value.keys == keys
