import pytest
import torch
from torch import nn

from suexp.job.cost import state_bytes
from suexp.optimizer import Adam, AdamW


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_state_is_two_tensors_of_the_parameters_size(kind: type[torch.optim.Optimizer]) -> None:
    p = nn.Parameter(torch.ones(30, 10))
    optimizer = kind([p])
    p.grad = torch.ones(30, 10)
    optimizer.step()
    assert state_bytes(optimizer) == 2 * p.numel() * 4


def test_first_step_is_almost_a_sign() -> None:
    p = nn.Parameter(torch.zeros(3))
    optimizer = AdamW([p], lr=0.5, eps=1e-8)
    p.grad = torch.tensor([4.0, -1e-3, 1e-8])
    optimizer.step()
    torch.testing.assert_close(p.detach(), -0.5 * p.grad / (p.grad.abs() + 1e-8))


def test_decay_of_adamw_does_not_pass_through_the_moments() -> None:
    for kind, expected in ((AdamW, 3 * (1 - 0.1 * 0.5)), (Adam, 3 - 0.1)):
        p = nn.Parameter(torch.tensor([3.0]))
        optimizer = kind([p], lr=0.1, weight_decay=0.5)
        p.grad = torch.zeros(1)
        optimizer.step()
        assert p.item() == pytest.approx(expected, rel=1e-6)
