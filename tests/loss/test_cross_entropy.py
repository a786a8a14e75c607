import math

import pytest
import torch

from suexp.loss import CrossEntropy
from suexp.normalizer import Taylor


def test_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    loss = CrossEntropy()(logits, torch.tensor([0, 0]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, abs=1e-6)


def test_label_smoothing_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    log_p = logits.log_softmax(-1)[0]
    expected = -(0.9 * log_p[1] + 0.1 * log_p.mean())
    assert CrossEntropy(label_smoothing=0.1)(logits, torch.tensor([1])) == pytest.approx(
        expected.item(), abs=1e-6
    )


def test_ignored_targets_do_not_count() -> None:
    logits = torch.randn(2, 3, 5)
    target = torch.tensor([[1, -100, 2], [-100, -100, 0]])
    kept = CrossEntropy()(logits[target != -100], target[target != -100])
    assert torch.allclose(CrossEntropy()(logits, target), kept)


def test_nothing_to_predict_gives_zero_and_zero_gradients() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = CrossEntropy()(logits, torch.tensor([-100, -100]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def test_large_logits_and_bfloat16_are_finite() -> None:
    logits = torch.tensor([[1e4, -1e4]], dtype=torch.bfloat16)
    loss = CrossEntropy()(logits, torch.tensor([1]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(2e4, rel=1e-2)


def test_smoothing_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\), not 1.0"):
        CrossEntropy(label_smoothing=1.0)


def test_margin_by_hand_in_training_alone() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    loss = CrossEntropy(margin=0.5)
    target = torch.tensor([0, -100])
    shifted = torch.tensor([1.5, 0.0])
    assert loss(logits, target).item() == pytest.approx(-shifted.log_softmax(0)[0].item())
    loss.eval()
    assert loss(logits, target).item() == pytest.approx(-logits[0].log_softmax(0)[0].item())


def test_margin_and_smoothing_with_a_polynomial_by_hand() -> None:
    loss = CrossEntropy(label_smoothing=0.2, margin=1.0, normalizer=Taylor(2))
    weights = torch.tensor([2.5, 5.0])  # f_2 of 2 - 1 and of 2
    log_p = (weights / weights.sum()).log()
    expected = -(0.9 * log_p[0] + 0.1 * log_p[1])
    found = loss(torch.tensor([[2.0, 2.0]]), torch.tensor([0]))
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_margin_leaves_the_logits_and_ignored_rows_alone() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    before = logits.detach().clone()
    loss = CrossEntropy(margin=0.3, normalizer=Taylor(4))(logits, torch.tensor([1, -100, 0]))
    loss.backward()
    assert torch.equal(logits.detach(), before)
    assert logits.grad is not None
    assert not logits.grad[1].any()


def test_a_polynomial_with_nothing_to_predict() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = CrossEntropy(normalizer=Taylor(2))(logits, torch.tensor([-100, -100]))
    loss.backward()
    assert loss.item() == 0


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="margin must be at least 0"):
        CrossEntropy(margin=-0.1)
