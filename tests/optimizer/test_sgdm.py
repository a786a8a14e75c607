import pytest
import torch
from torch import nn

from suexp.job.cost import state_bytes
from suexp.optimizer import SGDM
from tests.optimizer.micro import digits_like, missing, phases, step


def test_k_batches_make_exactly_the_step_of_one_k_times_as_large() -> None:
    micro, whole = digits_like(), digits_like()
    settings = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.01}
    hidden = SGDM(micro.parameters(), grad_accum_steps=4, **settings)
    plain = SGDM(whole.parameters(), **settings)
    x, y = torch.randn(10, 4, 8, 6).double(), torch.randint(3, (10, 4, 8))
    for inputs, labels in zip(x, y, strict=True):
        for part, answers in zip(inputs, labels, strict=True):
            before = [p.detach().clone() for p in micro.parameters()]
            step(micro, hidden, part, answers)
            moved = any(
                not torch.equal(a, b) for a, b in zip(before, micro.parameters(), strict=True)
            )
            assert moved == (hidden.param_groups[0]["step"] % 4 == 0)  # bitwise still between
        step(whole, plain, inputs.flatten(0, 1), labels.flatten())
    gaps = [
        (a - b).abs().max() for a, b in zip(micro.parameters(), whole.parameters(), strict=True)
    ]
    assert max(gaps) < 1e-14
    assert (hidden.updates, plain.updates) == (10, 10)
    assert hidden.diagnostics() == {"updates": 10.0}


def test_one_batch_a_step_is_torch_s_sgd_at_another_rate() -> None:
    one, other, undamped = digits_like(), digits_like(), digits_like()
    ours = SGDM(one.parameters(), lr=0.3, momentum=0.9, weight_decay=0.01)
    raw = SGDM(undamped.parameters(), lr=0.03, momentum=0.9, dampened=False, weight_decay=0.01)
    torch_s = torch.optim.SGD(other.parameters(), lr=0.03, momentum=0.9, weight_decay=0.01)
    for _ in range(50):
        x, y = torch.randn(8, 6).double(), torch.randint(3, (8,))
        for model, optimizer in ((one, ours), (other, torch_s), (undamped, raw)):
            step(model, optimizer, x, y)
    for a, b, c in zip(one.parameters(), other.parameters(), undamped.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
        torch.testing.assert_close(c, b, atol=1e-12, rtol=0)


def test_a_micro_step_without_a_gradient_counts_as_one_of_zeros() -> None:
    missing(lambda p, k: SGDM([p], lr=0.1, grad_accum_steps=k))


def test_the_phase_of_a_cycle_survives_a_checkpoint() -> None:
    phases(lambda p: SGDM([p], lr=0.1, grad_accum_steps=3))


def test_the_state_is_one_tensor_in_float32() -> None:
    p = nn.Parameter(torch.ones(30, 10, dtype=torch.bfloat16))
    optimizer = SGDM([p], lr=0.01, momentum=0.9, grad_accum_steps=64)
    for _ in range(64):
        p.grad = torch.full_like(p, 1.0)
        optimizer.step()
    assert state_bytes(optimizer) == 4 * p.numel()
    # In 16 bits the 64th part of a gradient would be lost beside what is there.
    torch.testing.assert_close(
        optimizer.state[p]["momentum"], torch.full((30, 10), 0.1), atol=1e-6, rtol=0
    )


def test_needs_a_whole_number_of_batches() -> None:
    with pytest.raises(ValueError, match="grad_accum_steps must be at least 1, not 0"):
        SGDM([nn.Parameter(torch.ones(2))], grad_accum_steps=0)
    with pytest.raises(ValueError, match="SGDM takes real numbers"):
        SGDM([nn.Parameter(torch.ones(2, dtype=torch.complex64))])
