"""Claims on what a run had logged by some step."""

import pytest

from suexp.experiment.gather import _by_step

HISTORY = [
    {"step": 1, "val/loss": 5.0},
    {"step": 2, "train/loss": 9.0},
    {"step": 4, "val/loss": 3.0},
]


@pytest.mark.parametrize(("step", "value"), [(1, 5.0), (3, 5.0), (4, 3.0), (99, 3.0)])
def test_what_was_last_logged_by_a_step(step: int, value: float) -> None:
    assert _by_step(HISTORY, [f"val/loss@{step}"]) == {f"val/loss@{step}": value}


def test_nothing_before_the_first() -> None:
    assert _by_step(HISTORY, ["val/loss@0", "val/other@9"]) == {}
