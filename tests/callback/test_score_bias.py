"""What positions and the mask add to the scores."""

from pathlib import Path
from typing import Any

import pytest

from suexp.callback.score_bias import ScoreBias
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny

ON = ("callback=score_bias", "callbacks.score_bias.length=16", "callbacks.score_bias.points=4")


def cells(tmp_path: Path, *overrides: str) -> dict[tuple[int, int], float]:
    config = spec_of(tiny(tmp_path, *ON, *overrides))
    summary = execute(config)
    assert summary.status == "finished", summary.error
    rows: list[dict[str, Any]] = Run(config).tables()["score_bias"]
    return {(row["row"], row["column"]): row["bias"] for row in rows}


def test_alibi_under_a_causal_mask(tmp_path: Path) -> None:
    """The first of two heads has slope 2^-4."""
    found = cells(tmp_path, "position=alibi")
    assert found == {(i, j): -(i - j) / 16 for i in (0, 4, 8, 12) for j in (0, 4, 8, 12) if j <= i}


def test_the_second_head(tmp_path: Path) -> None:
    found = cells(tmp_path, "position=alibi", "callbacks.score_bias.head=1")
    assert found[12, 0] == pytest.approx(-12 / 256, abs=1e-4)


def test_a_window_adds_nothing_where_it_lets_see(tmp_path: Path) -> None:
    found = cells(tmp_path, "mask=window", "mask.size=5")
    assert found == {(i, j): 0 for i in (0, 4, 8, 12) for j in (i, i - 4) if j >= 0}


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("position=alibi", "callbacks.score_bias.head=2"), "head=2, and there are 2"),
        (
            ("position=learned", "position.max_length=16", "callbacks.score_bias.length=64"),
            "64 tokens is longer than",
        ),
    ],
)
def test_it_is_refused_before_training(
    tmp_path: Path, overrides: tuple[str, ...], says: str
) -> None:
    summary = execute(spec_of(tiny(tmp_path, *ON, *overrides)))
    assert summary.status == "failed"
    assert says in (summary.error or "")


def test_sizes_out_of_range() -> None:
    for wrong in ({"points": 1}, {"points": 65}, {"head": -1}):
        with pytest.raises(ValueError, match="points="):
            ScoreBias(**wrong)
