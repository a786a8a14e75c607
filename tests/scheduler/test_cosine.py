import math

import pytest
import torch
from torch import nn

from suexp.scheduler import Cosine


def test_exact_values() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = Cosine(optimizer, total_steps=10, warmup=0.2, final_ratio=0.2)
    half = 1 / math.sqrt(2)
    expected = {0: 1 / 3, 1: 2 / 3, 2: 1.0, 4: 0.6 + 0.4 * half, 6: 0.6, 8: 0.6 - 0.4 * half,
                10: 0.2, 11: 0.2}  # fmt: skip
    assert {t: scheduler.factor(t) for t in expected} == pytest.approx(expected)


def test_equals_torch_s_own_without_warm_up() -> None:
    rates = []
    for ours in (True, False):
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3)
        if ours:
            scheduler = Cosine(optimizer, total_steps=7, warmup=0, final_ratio=0.1)
        else:
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7, eta_min=0.03)
        for _ in range(7):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    assert rates[:7] == pytest.approx(rates[7:])
