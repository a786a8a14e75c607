import math

import pytest
import torch
from torch import Tensor

from suexp.attention.base import Attention
from suexp.mask.causal import Causal
from suexp.task.attention_cost import AttentionCost


class Copy(Attention):
    """One new tensor of the size of v."""

    def forward(self, q, k, v, mask, bias=None) -> Tensor:
        return v.clone()


class Scores(Attention):
    """A new n x n tensor, then one of the size of v."""

    def forward(self, q, k, v, mask, bias=None) -> Tensor:
        return q @ k.mT @ v


def cost(attention, **changes):
    options = {"num_heads": 2, "head_dim": 8, "lengths": [64, 128, 256], "slope_from": 64}
    return AttentionCost(attention, Causal(), **{**options, **changes})


def test_bytes_are_what_is_allocated(estimate):
    final = estimate(cost(Copy()), 1)
    assert [final[f"test/bytes_n{n}"] for n in (64, 128, 256)] == [
        4 * 2 * 8 * n for n in (64, 128, 256)
    ]
    assert final["test/memory_slope"] == pytest.approx(1)


def test_memory_slope_of_the_scores(estimate):
    final = estimate(cost(Scores(), lengths=[256, 512], slope_from=256), 1)
    assert final["test/bytes_n512"] >= 4 * 2 * 512**2
    assert final["test/memory_slope"] == pytest.approx(2, abs=0.1)


def test_time_is_the_shortest_of_the_rounds(estimate):
    task = cost(Scores(), backward=True)
    final = estimate(task, samples=3, batch_size=1)
    assert task.batches_done == 3
    rows = {(row["pass"], row["n"]): row for row in task.tables["cost"]}
    assert len(rows) == 6
    for n in (64, 128, 256):
        assert 0 < final[f"test/seconds_n{n}"] < 1
        assert rows["forward", n]["seconds"] == final[f"test/seconds_n{n}"]
        both = rows["forward and backward", n]
        assert both["seconds"] > rows["forward", n]["seconds"]
        assert both["bytes"] > rows["forward", n]["bytes"]
    before = task.totals["seconds"].clone()
    task.test_step({"index": torch.arange(1)}, 3)
    assert (task.totals["seconds"] <= before).all()


def test_slope_counts_long_texts_only():
    task = cost(Copy(), lengths=[16, 64, 128, 256])
    values = [1e9, *(3.0 * n**1.5 for n in (64, 128, 256))]
    assert task._slope(values) == pytest.approx(1.5)


def test_time_slope_is_finite_and_positive(estimate):
    final = estimate(cost(Scores(), lengths=[256, 1024], slope_from=256), 2, 1)
    assert math.isfinite(final["test/time_slope"])
    assert final["test/time_slope"] > 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lengths": [0, 64, 128]}, "must be at least 1"),
        ({"num_heads": 0}, "must be at least 1"),
        ({"slope_from": 256}, "the slopes need two lengths"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        cost(Copy(), **wrong)
