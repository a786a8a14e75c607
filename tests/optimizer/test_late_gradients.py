"""Parameters whose gradient comes late, pauses, or never comes."""

import pytest
import torch
from torch import Tensor, nn

from suexp.contract.subject import through_a_file
from tests.optimizer.test_contract import FORMS, REFERENCE, load

# Which of three parameters have a gradient at each step; the third never has one.
PATTERN = ["a", "a", "ab", "b", "", "ab"]


@pytest.mark.parametrize("reload_at", [1, 3, None])
@pytest.mark.parametrize(("option", "form"), FORMS)
def test_each_parameter_is_as_if_alone(
    option: str, form: dict[str, bool | None], reload_at: int | None
) -> None:
    made = load(option, weight_decay=0.1, lr=0.01, **form)
    start = {name: torch.randn(20, 5).double() for name in "abc"}
    parameters = {name: nn.Parameter(p.clone()) for name, p in start.items()}
    optimizer = made(parameters.values())
    states: dict[str, dict[str, Tensor]] = {name: {} for name in "abc"}
    steps = dict.fromkeys("abc", 0)
    for t, names in enumerate(PATTERN):
        if t == reload_at:
            state = through_a_file(optimizer.state_dict())
            optimizer = made(parameters.values())
            optimizer.load_state_dict(state)
        for name, p in parameters.items():
            p.grad = torch.randn(20, 5).double() if name in names else None
            if p.grad is not None:
                steps[name] += 1
                REFERENCE[option](start[name], p.grad, states[name], 0.01, 0.1, steps[name])
        optimizer.step()
    assert steps == {"a": 4, "b": 3, "c": 0}
    for name, p in parameters.items():
        torch.testing.assert_close(p.detach(), start[name], atol=1e-14, rtol=1e-12)
    assert parameters["c"] not in optimizer.state


def test_lbfgs_reads_a_missing_gradient_as_zero() -> None:
    ends = []
    for zeros in (False, True):
        torch.manual_seed(1)
        a, b = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(3))
        start = b.detach().clone()
        optimizer = load("lbfgs", line_search=None, max_iter=1)([a, b])
        for late in (False, False, True, True):
            optimizer.zero_grad()
            b.grad = torch.zeros(3) if zeros else None
            loss = (a - 1).square().sum() + (0.5 * b - 1).square().sum() * late
            loss.backward(inputs=[a, b] if late else [a])
            optimizer.step()
        ends.append((a.detach(), b.detach()))
    torch.testing.assert_close(*ends)
    assert (ends[0][1] - start).abs().min() > 0.1
