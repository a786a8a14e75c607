"""Focal loss by hand, at its ends."""

import pytest
import torch
import torch.nn.functional as F

from suexp.loss import CrossEntropy, Focal
from suexp.loss.tailr import TaiLr


def test_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], dtype=torch.float64)
    target = torch.tensor([0, 1])
    q = logits.softmax(-1)[torch.arange(2), target]
    expected = (-((1 - q) ** 1.5) * q.log()).mean()
    assert Focal(1.5)(logits, target).item() == pytest.approx(expected.item(), abs=1e-12)


def test_no_focus_is_cross_entropy() -> None:
    logits, target = torch.randn(8, 5, dtype=torch.float64), torch.arange(8) % 5
    torch.testing.assert_close(Focal(0.0)(logits, target), F.cross_entropy(logits, target))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_what_is_certain_has_no_gradient(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    Focal(gamma)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() == 0
    torch.testing.assert_close(logits.grad[1], torch.tensor([-0.5, 0.5]))


def test_it_is_the_opposite_of_total_variation() -> None:
    """Cross-entropy's gradient times a factor: one falls with q, the other grows."""
    logits = torch.tensor([[3.0, 0.0], [-3.0, 0.0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 0])
    sure, unsure = [], []
    for loss in (CrossEntropy(), Focal(2.0), TaiLr(0.1)):
        (grad,) = torch.autograd.grad(loss(logits, target), logits)
        sure.append(grad[0].norm().item())
        unsure.append(grad[1].norm().item())
    assert sure[1] / sure[0] < unsure[1] / unsure[0]
    assert sure[2] / sure[0] > unsure[2] / unsure[0]


def test_a_negative_focus_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma"):
        Focal(gamma=-1.0)
