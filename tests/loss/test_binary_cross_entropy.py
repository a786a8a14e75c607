import math

import pytest
import torch
from sklearn.metrics import log_loss

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.loss import BinaryCrossEntropy


def test_the_mean_over_rows_and_labels() -> None:
    logits = torch.tensor([[0.0, 2.0, -1.0], [3.0, -2.0, 0.5]], requires_grad=True)
    labels = torch.tensor([[True, False, True], [True, True, False]])
    loss = BinaryCrossEntropy()(logits, labels)
    p = logits.detach().sigmoid().flatten().double().numpy()
    assert loss.item() == pytest.approx(log_loss(labels.flatten().numpy(), p), abs=1e-6)
    loss.backward()
    expected = (logits.detach().sigmoid() - labels.float()) / 6
    torch.testing.assert_close(logits.grad, expected)


def test_large_logits_and_few_bits() -> None:
    logits = torch.tensor([[1e4, -1e4]])
    assert BinaryCrossEntropy()(logits, torch.tensor([[True, False]])) == 0
    assert BinaryCrossEntropy()(logits, torch.tensor([[False, False]])) == 5e3
    half = BinaryCrossEntropy()(torch.zeros(1, 2, dtype=torch.bfloat16), torch.ones(1, 2).bool())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(math.log(2))


def test_it_is_for_texts_with_several_labels() -> None:
    with pytest.raises(UserError, match="loss=binary_cross_entropy needs separate labels: it asks"):
        resolve(["loss=binary_cross_entropy"])
