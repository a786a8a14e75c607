"""Generalised cross-entropy by hand, at its ends."""

import pytest
import torch
import torch.nn.functional as F

from suexp.loss import CrossEntropy
from suexp.loss.gce import GCE


def test_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], dtype=torch.float64)
    target = torch.tensor([0, 1])
    p = logits.softmax(-1)[torch.arange(2), target]
    expected = ((1 - p**0.7) / 0.7).mean()
    assert GCE(0.7)(logits, target).item() == pytest.approx(expected.item(), abs=1e-12)


def test_the_two_ends() -> None:
    logits, target = torch.randn(8, 5, dtype=torch.float64), torch.arange(8) % 5
    p = logits.softmax(-1)[torch.arange(8), target]
    torch.testing.assert_close(GCE(1.0)(logits, target), (1 - p).mean())
    near = GCE(1e-9)(logits, target)
    torch.testing.assert_close(near, F.cross_entropy(logits, target), atol=1e-6, rtol=0)


def test_its_gradient_is_cross_entropy_s_times_a_power_of_p() -> None:
    logits = torch.tensor([[1.0, 0.0, -2.0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([2])
    losses = CrossEntropy(), GCE(0.7)
    plain, found = (torch.autograd.grad(loss(logits, target), logits)[0] for loss in losses)
    torch.testing.assert_close(found, plain * logits.detach().softmax(-1)[0, 2] ** 0.7)


def test_extreme_scores_are_finite() -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = GCE()(logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(1 / 1.4)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_powers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loss.q must lie in \(0, 1\], not 0.0"):
        GCE(q=0.0)
