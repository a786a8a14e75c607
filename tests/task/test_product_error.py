from typing import Any

import pytest
import torch

from suexp.arithmetic import Exact, Mitchell
from suexp.arithmetic.base import Arithmetic
from suexp.config.compose import resolve
from suexp.task.product_error import GRID, ProductError


def measured(
    rule: Arithmetic, count: int = 20_000, **changes: Any
) -> tuple[dict[str, float], ProductError]:
    task = ProductError(rule, **changes)
    drawn = task.draw(count, torch.Generator().manual_seed(0))
    return task.summarise(task.totals | drawn | {"draws": torch.tensor(count)}), task


def test_mitchells_rule() -> None:
    found, task = measured(Mitchell())
    assert 0 <= found["min_error"] < 1e-4
    assert 0.11 < found["max_error"] <= 1 / 9 + 1e-9
    assert found["mean_error"] == pytest.approx(0.0385, abs=5e-4)
    assert found["mean_ratio"] == pytest.approx(26 / 27, abs=1e-3)
    assert found["beyond_signed_n1"] == found["beyond_positive_n1024"] == 0
    assert found["beyond_signed_n1024"] > 0.1
    assert found["shrinkage_n64"] == pytest.approx(0.962, abs=0.01)
    error = {(row["a"], row["b"]): row["error"] for row in task.tables["error"]}
    assert len(error) == (GRID - 1) ** 2
    assert error[0.5, 0.5] == max(error.values()) == pytest.approx(1 / 9)
    assert error[0.0, 0.5] == 0
    for law in ("uniform", "normal"):
        shares = [row["density"] for row in task.tables["histogram"] if row["law"] == law]
        assert sum(shares) / 800 == pytest.approx(1)
    log = {(row["kind"], row["x"]): row["log"] for row in task.tables["logarithm"]}
    assert (log["bits", 3.0], log["bits", 4.0]) == (1.5, 2.0)


def test_exact_products_have_no_error_to_speak_of() -> None:
    found, _ = measured(Exact(), count=1000, lengths=[2])
    assert abs(found["max_error"]) < 1e-6
    assert found["mean_ratio"] == pytest.approx(1, abs=1e-7)
    assert found["beyond_signed_n2"] == 0


def test_long_sums_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = measured(Mitchell(), 1000, lengths=[1], sums=1000)
    monkeypatch.setattr("suexp.task.product_error.HELD", 500)
    parts, _ = measured(Mitchell(), 1000, lengths=[1], sums=1000)
    assert parts["shrinkage_n1"] == pytest.approx(whole["shrinkage_n1"], abs=0.01)


@pytest.mark.parametrize("wrong", [{"lengths": []}, {"lengths": [0]}, {"sums": 0}])
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProductError(Exact(), **wrong)


def test_it_takes_the_chosen_arithmetic() -> None:
    node = resolve(["task=product_error", "arithmetic=log_exact"]).config["task"]["arithmetic"]
    assert node["_target_"] == "suexp.arithmetic.log_exact.LogExact"
    assert "Mitchell" in resolve(["task=product_error"]).config["task"]["arithmetic"]["_target_"]
