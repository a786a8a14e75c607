import pytest
import torch
from torch import nn

from suexp.scheduler import Linear


def test_exact_values() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = Linear(optimizer, total_steps=10, warmup=2, final_ratio=0.2)
    expected = [1 / 3, 2 / 3, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2]
    assert [scheduler.factor(t) for t in range(12)] == pytest.approx(expected)
    assert scheduler.factor(2) == 1
