"""Distances beyond the bound: by hand, on every scale that a claim may be judged on."""

import math

import pytest

from suexp.folders import experiments_dir
from suexp.report.forest_data import Row, rows_of
from suexp.report.pages import load_results
from tests.support.results_example import example

CLAIM = {
    "id": "C",
    "verdict": "reproduced",
    "judged": "difference",
    "relation": "<",
    "bound": 0.0,
    "margin": None,
    "estimate": -2.0,
    "interval": [-4.0, -0.5],
    "per_seed": [-1.0, -2.0, -3.0],  # standard deviation 1
    "n": 3,
}


def row(**changes: object) -> Row:
    return rows_of([CLAIM | changes])[0]


def test_right_of_zero_a_claim_holds_whichever_way_it_compares():
    assert (row().mean, row().interval, row().seeds) == (2.0, (0.5, 4.0), (1.0, 2.0, 3.0))
    other = row(relation=">=")
    assert (other.mean, other.interval, other.seeds) == (-2.0, (-4.0, -0.5), (-1.0, -2.0, -3.0))


def test_it_is_the_distance_from_the_bound():
    moved = row(bound=-1.0)
    assert (moved.mean, moved.interval, moved.seeds) == (1.0, (-0.5, 3.0), (0.0, 1.0, 2.0))


def test_ratios_are_as_far_from_one_as_they_are_judged():
    values = [math.exp(-k) for k in (1, 2, 3)]
    found = row(
        judged="ratio", bound=0.5, estimate=0.5 * values[1], per_seed=[0.5 * v for v in values],
        interval=[0.5 * math.exp(-4), 0.5 * math.exp(-0.5)],
    )  # fmt: skip
    assert found.mean == pytest.approx(2)
    assert found.interval == pytest.approx((0.5, 4))
    assert found.seeds == pytest.approx((1, 2, 3))


def test_within_a_margin_the_middle_is_the_farthest():
    values = {"per_seed": [-0.5, 0.5, 1.5], "estimate": 0.5}
    inside = row(**values, relation="==", margin=3.0, interval=[-1.0, 2.0])
    assert inside.interval == (1.0, 3.0)  # |2| is nearest to the margin, 0 the farthest from it
    assert (inside.mean, inside.seeds) == (2.5, (2.5, 2.5, 1.5))
    outside = row(**values, relation="==", margin=0.25, interval=[0.3, 0.7])
    assert outside.interval == pytest.approx((-0.45, -0.05))


@pytest.mark.parametrize(
    "changes",
    [
        {"judged": "exact"},
        {"judged": "signs"},
        {"estimate": None},
        {"relation": None},
        {"per_seed": [1.0]},
        {"per_seed": []},
        {"per_seed": [1.0, None, 2.0]},
        {"per_seed": [2.0, 2.0, 2.0], "interval": [2.0, 2.0]},
        {"judged": "ratio", "bound": 1.0},  # of what is negative
        {"judged": "ratio", "bound": 0.0},
    ],
)
def test_what_has_no_distance_has_none(changes):
    assert row(**changes) == Row("C", "reproduced", 3)


def test_every_seed_is_shown_where_there_is_no_interval():
    found = row(judged="every", interval=None, verdict="held in n of n")
    assert (found.interval, found.seeds) == (None, (1.0, 2.0, 3.0))


def test_a_count_without_spread_has_that_of_its_interval():
    look = {"n": 3, "critical": 4.0}
    found = row(per_seed=[-2.0] * 3, interval=[-4.0, 0.0], looks=[look])
    spread = 2.0 / 4.0 * math.sqrt(3)
    assert found.mean == pytest.approx(2.0 / spread)
    assert found.interval == pytest.approx((0.0, 4.0 / spread))


@pytest.mark.parametrize("path", sorted(experiments_dir().glob("*/results.json")), ids=str)
def test_a_side_is_what_the_verdict_says(path):
    claims = load_results(path.parent)["claims"]
    for found in rows_of(claims):
        if found.mean is None or found.interval is None:
            continue
        low, high = found.interval
        assert low <= found.mean <= high
        if found.verdict == "reproduced":
            assert low >= 0
        if found.verdict == "not reproduced":
            assert high <= 0
        if found.verdict == "inconclusive":
            assert low <= 0 <= high


def test_the_example_has_all_kinds():
    found = {item.claim: item for item in rows_of(example()["claims"])}
    assert [name for name, item in found.items() if item.mean is None] == ["C1", "C7", "C9"]
    assert found["C3"].interval[0] > 0 > found["C2"].interval[0]
