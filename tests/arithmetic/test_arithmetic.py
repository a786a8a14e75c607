"""Exact products, and those by exact logarithms."""

import torch

from suexp.arithmetic import Exact, LogExact


def test_exact_products_are_the_machines() -> None:
    x, w = torch.randn(5, 7), torch.randn(3, 7)
    assert torch.equal(Exact().multiply(x, x), x * x)
    assert torch.equal(Exact().sums(x, w), x @ w.T)


def test_logarithms_lose_some_digits() -> None:
    x = torch.randn(1000)
    error = (LogExact().multiply(x, x) - x * x).abs() / (x * x)
    assert 0 < error.max() < 1e-5
    assert LogExact().multiply(torch.tensor([0.0, -2.0]), torch.tensor([-3.0, 4.0])).tolist() == [
        0.0,
        -8.0,
    ]
