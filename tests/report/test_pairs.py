"""Slope lines: which comparisons are shown, as what, and which seeds speak against."""

import pytest

from suexp.folders import experiments_dir
from suexp.judge.claims import judge
from suexp.report.pages import load_results
from suexp.report.pairs import MOST, draw, panels_of
from suexp.report.scene import scene
from tests.support.results_example import example


def panels(*tests: str, **more: object) -> list:
    results = example(failed=False)
    claims = {f"C{i}": {"text": "", "test": test} | more for i, test in enumerate(tests)}
    return panels_of(results | {"claims": judge(claims, results["runs"], "laptop")})


def test_a_line_a_seed_joins_the_values_of_its_runs():
    results = example(failed=False)
    (panel,) = panels("val/loss[signum] < val/loss[lion]")
    value = {(run["arm"], run["seed"]): run["metrics"]["val/loss"] for run in results["runs"]}
    assert panel.pairs == tuple((value["signum", s], value["lion", s]) for s in (0, 1, 2))
    assert panel.holds == tuple(a < b for a, b in panel.pairs)
    assert (panel.arms, panel.metric) == (("signum", "lion"), "val/loss")


@pytest.mark.parametrize(
    ("test", "sides"),
    [
        ("val/loss[lion] <= val/loss[adamw] + 0.03", ("lion", "adamw + 0.03")),
        ("val/loss[lion] < 0.5 * val/loss[adamw]", ("lion", "0.5 × adamw")),
        ("val/loss[lion] < 2 * (val/loss[adamw] - 1)", ("lion", "2 × (adamw − 1)")),
        ("train/loss[lion] < val/loss[lion]", ("train/loss", "val/loss")),
        ("train/loss[lion] < val/loss[adamw]", ("left side", "right side")),
        ("val/loss[lion] < min(val/loss[adamw], val/loss[signum], 9)", ("lion", None)),
    ],
)
def test_sides_are_named_as_shortly_as_they_can(test, sides):
    (panel,) = panels(test)
    assert panel.sides == (sides if sides[1] else ("left side", "right side"))


def test_what_compares_no_two_sides_is_left_out():
    assert panels("val/loss[lion] < 3", "val/loss[lion] > val/loss[lion_wild] - 9") == []
    assert panels("val/loss[lion] < val/loss[adamw]", exact=True) == []
    assert panels("optimizer/state_bytes[lion] < optimizer/state_bytes[adamw]") == []


def test_the_failed_and_the_open_come_first():
    results = load_results(experiments_dir() / "analytic_logistic")
    doubtful = results["claims"][4::5]
    assert 0 < len(doubtful) < MOST < len(results["claims"])
    for claim in results["claims"]:
        claim["verdict"] = "inconclusive" if claim in doubtful else "reproduced"
    found = panels_of(results)
    assert len(found) == MOST
    assert {claim["id"] for claim in doubtful} <= {panel.claim for panel in found}
    order = [c["id"] for c in results["claims"]]
    assert [p.claim for p in found] == sorted((p.claim for p in found), key=order.index)


@pytest.mark.slow
def test_names_with_a_dollar_are_data(tmp_path):
    results = example(failed=False)
    found = panels("val/loss[lion] < val/loss[adamw] - 1")
    draw(found, scene(results).looks, tmp_path / "a.svg", "stamp")
    strange = [type(found[0])(**{**vars(found[0]), "claim": "$x", "sides": ("_$a", "狮")})]
    draw(strange, {}, tmp_path / "b.svg")
    assert "stamp" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "b.svg").stat().st_size > 1000
