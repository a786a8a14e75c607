import pytest
import torch

from suexp.task.taylor_estimation import TaylorEstimation, lowest_place, polynomial

LEAST = {2: 0.5, 4: 0.270395, 6: 0.149325, 8: 0.083271, 10: 0.046699}


def test_least_values_and_what_few_bits_make_of_them(estimate) -> None:
    task = TaylorEstimation(chunk=3000)
    found = estimate(task, 20_000, 5000)
    for order, value in LEAST.items():
        assert found[f"test/min_n{order}"] == pytest.approx(value, abs=2e-5)
    assert found["test/min_error"] < 2e-5
    assert found["test/min_even"] > 0 > found["test/max_min_odd"]
    # 8 bits keep the sign and lose the value; the roots keep both.
    assert found["test/min_n10_bfloat16"] == pytest.approx(0.0156, abs=1e-3)
    assert found["test/error_horner_bfloat16"] > 0.5
    assert found["test/error_roots_bfloat16"] < 1e-5
    assert found["test/overflow_float16"] > 0
    assert found["test/overflow_bfloat16"] == 0
    rows = task.tables["minimum"]
    assert [row["order"] for row in rows] == [2, 4, 6, 8, 10, 20]
    assert all(row["least"] >= row["theory"] - 1e-12 for row in rows)
    probability = {(row["normalizer"], row["z"]): row["p"] for row in task.tables["probability"]}
    assert probability["softmax", 0.0] == pytest.approx(1 / 3)
    assert probability["taylor 2", -10.0] == pytest.approx(41 / 43)


def test_the_lowest_place_is_where_the_order_below_vanishes() -> None:
    for order, place in ((2, -1.0), (4, -1.5961), (6, -2.1806), (8, -2.7590), (10, -3.3336)):
        assert lowest_place(order) == pytest.approx(place, abs=1e-4)
        assert polynomial(lowest_place(order), order) == pytest.approx(LEAST[order], abs=1e-6)


def test_totals_do_not_depend_on_the_batches(estimate) -> None:
    parts = [estimate(TaylorEstimation([1, 2], chunk=chunk), 1000) for chunk in (100, 10**6)]
    assert parts[0]["test/min_n1"] == pytest.approx(parts[1]["test/min_n1"])
    task = TaylorEstimation([1, 2])
    drawn = task.draw(10, torch.Generator().manual_seed(0))
    assert drawn["least"].shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"orders": [0, 1]}, "orders must lie in 1 to 30"),
        ({"orders": [2, 4]}, "an even and an odd one"),
        ({"reach": 0}, "reach must be above 0"),
    ],
)
def test_refusals(arguments: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        TaylorEstimation(**arguments)  # type: ignore[arg-type]
