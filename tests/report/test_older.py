"""Results of schema 1: what can be derived of them is, and nothing else."""

import math

import pytest

from suexp.folders import experiments_dir
from suexp.judge.claims import judge
from suexp.report.older import brought_up
from suexp.report.pages import load_results
from suexp.report.verdicts import judged
from tests.support.results_example import example


def aged(claim: dict, bound: float) -> dict:
    """Return a claim as schema 1 had it: moved by its bound, without what it did not know."""
    old = {key: claim[key] for key in claim if key not in ("judged", "quantity", "bound", "needs")}
    old["estimate"] -= bound
    old["interval"] = [end - bound for end in old["interval"]]
    old["per_seed"] = [value - bound for value in old["per_seed"]]
    return old


def test_quantity_bound_and_needs_are_those_of_today():
    results = example()
    (today,) = (claim for claim in results["claims"] if claim["id"] == "C2")
    old = results | {"schema": 1, "claims": [aged(today, 0.03)]}
    (found,) = brought_up(old)["claims"]
    for key in ("quantity", "bound", "margin"):
        assert found[key] == today[key]
    assert found["estimate"] == pytest.approx(today["estimate"], abs=1e-15)
    assert found["per_seed"] == pytest.approx(today["per_seed"], abs=1e-15)
    assert found["needs"]["seeds"] == today["needs"]["seeds"]
    assert found["needs"]["seconds"] == pytest.approx(today["needs"]["seconds"])
    assert judged(found).estimate == judged(today).estimate


def test_a_factor_was_judged_as_a_difference():
    results = example()
    claim = {"text": "", "test": "val/loss[lion] < 2 * val/loss[adamw]"}
    (record,) = judge({"C": claim}, results["runs"], "laptop")
    old = aged(record, 0.0) | {"estimate": -1.5, "interval": [-1.6, -1.4]}
    (found,) = brought_up(results | {"schema": 1, "claims": [old]})["claims"]
    assert (found["quantity"], found["bound"], found["estimate"]) == (None, 0.0, -1.5)
    assert judged(found).estimate == "-1.50 [-1.60, -1.40]"


def test_a_ratio_against_a_number_is_told_as_the_ratio():
    results = example()
    claim = {"text": "", "test": "val/loss[lion] / val/loss[adamw] > 3"}
    (record,) = judge({"C": claim}, results["runs"], "laptop")
    old = aged(record, 0.0) | {"estimate": -0.18, "interval": [-0.82, 0.46]}
    (found,) = brought_up(results | {"schema": 1, "claims": [old]})["claims"]
    assert (judged(found).estimate, judged(found).allowed) == ("2.82 [2.18, 3.46]", "> 3")


def test_what_is_new_stays_as_it_is():
    results = example()
    assert brought_up(results) is results
    # Its claims have a bound already: they are not moved again.
    assert brought_up(results | {"schema": 1})["claims"] == results["claims"]


@pytest.mark.parametrize("values", [[], [1.0], [1.0, None], [math.inf, 1.0], [1.0, 1.0], [-1, 1]])
def test_nothing_is_said_to_be_needed_of_what_has_no_spread(values):
    results = example()
    (claim,) = (claim for claim in results["claims"] if claim["id"] == "C2")
    old = aged(claim, 0.03) | {"per_seed": values}
    assert brought_up(results | {"schema": 1, "claims": [old]})["claims"][0]["needs"] is None


def test_every_recorded_card_can_be_read():
    for path in experiments_dir().glob("*/results.json"):
        results = load_results(path.parent)
        assert results["schema"] == 2
        for claim in results["claims"]:
            assert claim["estimate"] is None or math.isfinite(claim["bound"])
