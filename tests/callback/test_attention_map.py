"""Where attention looks on one text."""

from pathlib import Path
from typing import Any

import pytest

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny

ON = ("callback=attention_map", "callbacks.attention_map.length=8")


def rows(tmp_path: Path, *overrides: str) -> list[dict[str, Any]]:
    config = spec_of(tiny(tmp_path, *ON, *overrides))
    summary = execute(config)
    assert summary.status == "finished", summary.error
    return Run(config).tables()["attention_map"]


def test_a_window_of_one_looks_at_itself(tmp_path: Path) -> None:
    found = rows(tmp_path, "mask=window", "mask.size=1")
    assert {row["layer"] for row in found} == {0, 1}
    assert len(found) == 2 * 8 * 8
    assert all(row["weight"] == (row["query"] == row["key"]) for row in found)


@pytest.mark.parametrize("attention", ["softmax", "linear", "talking_heads"])
def test_rows_sum_to_one_over_what_stands_before(tmp_path: Path, attention: str) -> None:
    found = rows(tmp_path, f"attention={attention}")
    assert all(row["weight"] == 0 for row in found if row["key"] > row["query"])
    for query in range(8):
        seen = [row["weight"] for row in found if (row["layer"], row["query"]) == (0, query)]
        assert sum(seen) == pytest.approx(1, abs=1e-3)
    assert 0 < next(row["weight"] for row in found if row["query"] == 1) < 1


def test_a_batch_of_fewer_texts_is_refused(tmp_path: Path) -> None:
    summary = execute(spec_of(tiny(tmp_path, *ON, "callbacks.attention_map.row=1000")))
    assert summary.status == "failed"
    assert "row=1000, and a batch has" in (summary.error or "")
    assert not summary.cost.get("steps")  # before training
