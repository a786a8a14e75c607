"""Levels that arms are expected to reach."""

import pytest

from suexp.errors import UserError
from suexp.experiment.form import expand
from suexp.experiment.levels import levels, missed, read
from suexp.experiment.settings import Mistake
from suexp.report.pages import markdown_report
from tests.judge.test_claims import run
from tests.support.results_example import example

LEVEL = {"value": 0.95, "tolerance": 0.02, "source": "the prototype"}


def test_found_beside_expected() -> None:
    runs = [run("a", seed, x=x) for seed, x in enumerate((0.94, 0.95))]
    runs += [run("b", 0, x=0.8), run("c", 0, "failed")]
    found = levels({"x[a]": LEVEL, "x[b]": LEVEL, "x[c]": LEVEL}, runs)
    assert [(level["found"], level["reached"]) for level in found] == [
        (0.945, True),
        (0.8, False),
        (None, None),
    ]
    assert missed(found) == ["x[b] is 0.8; expected was 0.95 +- 0.02 (the prototype)"]


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("x[b]", r"unknown arm 'b'"),
        ("x", r"say of which arm"),
        ("2 * x[a]", r"is no metric of an arm"),
        ("slope(y ~ x)[a]", r"is no metric of an arm"),
    ],
)
def test_what_names_no_metric_of_an_arm(quantity: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(quantity, ["a"])


def test_an_experiment_states_them() -> None:
    form = {"post": {}, "arms": {"a": {}, "b": {}}, "seeds": [0], "expect": {"x[a]": LEVEL}}
    assert expand(form, "laptop")["expect"] == {"x[a]": LEVEL}
    assert expand({**form, "only": ["b"]}, "laptop")["expect"] == {}
    with pytest.raises(Mistake, match="expect names an unknown arm 'c'"):
        expand({**form, "expect": {"x[c]": LEVEL}}, "laptop")


def test_a_card_shows_them() -> None:
    results = example(failed=False)
    assert "## Levels" not in markdown_report(results)
    results["levels"] = levels({"val/loss[lion]": {**LEVEL, "value": 1.0}}, results["runs"])
    text = markdown_report(results)
    assert "| 1 ± 0.02 |" in text
    assert "far from it" in text
