"""Parity with pytorch-crf: log-likelihood, gradients and Viterbi paths."""

from typing import Any

import pytest
import torch

from suexp.loss._chain import IMPLEMENTATIONS, Constraints
from suexp.loss.crf import Crf

torchcrf = pytest.importorskip("torchcrf")

SIZES = [(3, 1, 4), (4, 7, 2), (8, 33, 20), (2, 200, 5)]


def both(c: int, **arguments: Any) -> tuple[Crf, Any]:
    ours, peer = Crf(c, **arguments), torchcrf.CRF(c, batch_first=True)
    with torch.no_grad():
        ours.transitions.table.normal_()
        peer.start_transitions.zero_()
        peer.end_transitions.zero_()
        peer.transitions.copy_(ours.transitions.table)
    return ours, peer


def batch(b: int, t: int, c: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    lengths = torch.randint(1, t + 1, (b,))
    lengths[0] = t
    logits = 2 * torch.randn(b, t, c)
    return logits.requires_grad_(), torch.randint(c, (b, t)), torch.arange(t) < lengths[:, None]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reduction", ["token", "sequence"])
def test_loss_and_gradients(
    size: tuple[int, int, int], reduction: Any, implementation: Any
) -> None:
    logits, labels, mask = batch(*size)
    logits = logits.detach().double().requires_grad_()  # the peer drifts in float32
    ours, peer = both(size[2], reduction=reduction, implementation=implementation)
    peer.double()
    name = {"token": "token_mean", "sequence": "mean"}[reduction]
    found, expected = ours(logits, labels, mask), -peer(logits, labels, mask, reduction=name)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    a = torch.autograd.grad(found, [logits, ours.transitions.table])
    b = torch.autograd.grad(expected, [logits, peer.transitions], allow_unused=True)
    torch.testing.assert_close(a[0], b[0], atol=1e-7, rtol=1e-6)
    if b[1] is not None:
        torch.testing.assert_close(a[1].double(), b[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_paths(size: tuple[int, int, int]) -> None:
    logits, _, mask = batch(*size)
    ours, peer = both(size[2])
    assert ours.decode(logits, mask) == peer.decode(logits, mask)


def test_constraints_are_scores_of_minus_infinity() -> None:
    c = 6
    start, end, pairs = torch.rand(c) < 0.6, torch.rand(c) < 0.6, torch.rand(c, c) < 0.6
    start[0] = end[0] = pairs[0] = True
    pairs[:, 0] = True
    logits, _, mask = batch(8, 20, c)
    ours, peer = both(c, constraints=Constraints(start, end, pairs))
    with torch.no_grad():
        peer.start_transitions[~start] = -1e4
        peer.end_transitions[~end] = -1e4
        peer.transitions[~pairs] = -1e4
    assert ours.decode(logits, mask) == peer.decode(logits, mask)
