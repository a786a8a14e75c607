"""Bytes that graphs hold: counted once, released with the graph, known tensors left out."""

import torch
from torch import nn

from suexp.nn.saved import SavedBytes


def test_counts_what_a_backward_pass_needs() -> None:
    x, w = torch.randn(10, 4), nn.Parameter(torch.randn(4, 6))
    with SavedBytes([x, w]) as meter:
        y = (x @ w).tanh()  # tanh keeps its output, the product its known inputs
        assert meter.live == 10 * 6 * 4
        y.sum().backward()
    del y
    assert meter.live == 0
    assert meter.peak == 10 * 6 * 4


def test_views_count_once() -> None:
    x = torch.randn(8, 3, requires_grad=True)
    with SavedBytes() as meter:
        a, b = (2 * x).chunk(2)
        y = a.square() + b.square()
        assert meter.live == 8 * 3 * 4
    del a, b, y
    assert meter.live == 0


def test_graphs_one_after_the_other_share_their_peak() -> None:
    w = nn.Parameter(torch.randn(4))
    with SavedBytes([w]) as meter:
        for _ in range(5):
            (w * torch.randn(100, 4)).tanh().sum().backward()
    assert meter.peak <= 2 * 100 * 4 * 4


def test_weights_do_not_count_not_even_a_frozen_teachers() -> None:
    layer, x = nn.Linear(4, 6, bias=False).requires_grad_(False), torch.randn(10, 4)
    with SavedBytes() as meter:
        y = layer(x.requires_grad_())  # the product's gradient needs the weight
        assert meter.live == 0
        z = y.tanh()
        assert meter.live == meter.of(z) == 10 * 6 * 4
