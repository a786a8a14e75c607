import pytest
import torch
from torch import nn

from suexp.optimizer import SGD


def test_two_steps_by_hand() -> None:
    for nesterov, expected in ((False, 1 - 0.1 * 2 - 0.1 * (0.5 * 2 + 4)), (True, None)):
        p = nn.Parameter(torch.tensor([1.0]))
        optimizer = SGD([p], lr=0.1, momentum=0.5, nesterov=nesterov)
        for g in (2.0, 4.0):
            p.grad = torch.tensor([g])
            optimizer.step()
        if expected is None:  # g + 0.5 m: 2 + 1, then m = 5 and 4 + 2.5
            expected = 1 - 0.1 * 3 - 0.1 * 6.5
        assert p.item() == pytest.approx(expected)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValueError, match="nesterov=true needs a momentum above 0"):
        SGD([nn.Parameter(torch.ones(2))], momentum=0.0, nesterov=True)


def test_without_momentum_there_is_no_state() -> None:
    p = nn.Parameter(torch.ones(2))
    optimizer = SGD([p], momentum=0.0)
    p.grad = torch.ones(2)
    optimizer.step()
    assert not any(
        isinstance(v, torch.Tensor) for s in optimizer.state.values() for v in s.values()
    )
