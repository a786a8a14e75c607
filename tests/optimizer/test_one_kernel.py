"""Where one kernel makes the steps, and that what comes out does not depend on it."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from suexp.optimizer import SGD, Adam, AdamW
from tests.optimizer.test_contract import FORMS, OPTIONS, REFERENCE, load

KINDS = pytest.mark.parametrize("kind", [SGD, Adam, AdamW])


def forms(optimizer: torch.optim.Optimizer) -> list[bool]:
    return [group["fused"] for group in optimizer.param_groups]


@KINDS
def test_where_torch_s_kernel_is_right(kind: type[Any]) -> None:
    dense, view = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2).t())
    turned = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    assert forms(kind([dense])) == [True]
    assert forms(kind([("name", dense)])) == [True]
    assert forms(kind([{"params": dense}, {"params": [view]}])) == [True, False]
    assert forms(kind([dense, view])) == [False]
    assert forms(kind([turned])) == [False]
    assert forms(kind([dense], fused=False)) == [False]


@KINDS
def test_a_kernel_that_would_misread_them_is_refused(kind: type[Any]) -> None:
    with pytest.raises(ValueError, match=r"misreads these parameters .*; set fused=null"):
        kind([nn.Parameter(torch.ones(3, 2).t())], fused=True)


@pytest.mark.parametrize(("option", "form"), FORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_half_precision_moves_as_float64_does(
    option: str, form: dict[str, bool | None], dtype: torch.dtype
) -> None:
    """Torch's fused SGD leaves 16 half-precision numbers of a register where they are."""
    made = load(option, weight_decay=0.1, **form)
    for size in (5, 16, 67, 40_000):
        p = nn.Parameter(torch.randn(size).to(dtype))
        expected, state = p.detach().double(), {}
        if form == {"fused": True} and dtype.itemsize == 2 and option == "sgd":
            with pytest.raises(ValueError, match="set fused=null"):
                made([p])
            return
        optimizer = made([p])
        for t in range(1, 4):
            optimizer.param_groups[0]["lr"] = lr = 0.125 / t
            p.grad = (torch.randn(size).sign() * 1.5 + torch.rand(size)).to(dtype)  # far from 0
            REFERENCE[option](expected, p.grad.double(), state, lr, 0.1, t)
            optimizer.step()
        off = (p.detach().double() - expected).abs()
        assert off.mean() < 40 * torch.finfo(dtype).eps * 0.1


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if "fused" in load(option).keywords]
)
def test_the_form_is_not_what_a_checkpoint_says(option: str) -> None:
    for dtype, view in ((torch.float32, False), (torch.bfloat16, False), (torch.float32, True)):
        first = nn.Parameter(torch.ones(20, 5, dtype=dtype))
        other = nn.Parameter(torch.ones(5, 20, dtype=dtype).t() if view else first.detach().clone())
        one, two = load(option)([first]), load(option)([other])
        first.grad = torch.ones_like(first)
        one.step()
        state = copy.deepcopy(one.state_dict())
        state["param_groups"][0]["fused"] = True  # as where the kernel was right
        own = forms(two)
        two.load_state_dict(state)
        assert forms(two) == own
        assert state["param_groups"][0]["fused"] is True
        first.grad = other.grad = torch.ones_like(first)
        other.data.copy_(first.data)
        one.step()
        two.step()
        torch.testing.assert_close(first, other)
