import torch
from torch import nn

from suexp.scheduler import Constant


def test_exact_values() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=8.0)
    scheduler = Constant(optimizer, total_steps=10, warmup=0.3)
    assert [8 * scheduler.factor(t) for t in range(6)] == [2, 4, 6, 8, 8, 8]
    assert scheduler.factor(10) == scheduler.factor(99) == 1
    assert Constant(optimizer, total_steps=10).factor(0) == 1
