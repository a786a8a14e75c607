import math

import pytest
import torch

from suexp.loss import CrossEntropy


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
