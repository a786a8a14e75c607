"""Claims on what a run logged along its training."""

import pytest

from suexp.experiment.gather import _along
from suexp.judge.expression import Metric
from suexp.judge.grammar import parse

HISTORY = [
    {"step": 1, "val/loss": 5.0},
    {"step": 2, "train/loss": 9.0},
    {"step": 4, "val/loss": 3.0},
    {"step": 6, "val/loss": 4.0},
]


def value_of(sentence):
    (leaf,) = parse(f"{sentence}[a] < 1").leaves
    assert isinstance(leaf, Metric)
    return _along(HISTORY, {leaf.name: leaf.along}).get(leaf.name)


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("val/loss@1", 5.0),
        ("val/loss@3", 5.0),
        ("val/loss@4", 3.0),
        ("val/loss@99", 4.0),
        ("val/loss@0", None),
        ("val/other@9", None),
        ("first(val/loss <= 3)", 4.0),
        ("first(val/loss < 3)", 7.0),  # never: one more than the last
        ("first(val/other < 3)", None),
        ("mean(val/loss from 2 to 6)", 3.5),
        ("mean(val/loss from 4 to 4)", 3.0),
        ("mean(val/loss from 7 to 9)", None),
    ],
)
def test_what_a_claim_reads_along_a_run(sentence, value):
    assert value_of(sentence) == value
