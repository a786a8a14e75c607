import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.job.cost import state_bytes
from suexp.nn.param_groups import param_groups
from suexp.optimizer import Signum, Tiger
from suexp.optimizer import tiger as module

KINDS = ("matrix", "embedding", "gain", "bias")


@pytest.fixture(params=["seen", "unseen"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both forms of the update: the CPU's, and the one that never looks at a number."""
    if request.param == "unseen":
        monkeypatch.setattr(module, "is_plain", lambda _: False)
    return request.param


def one(kind: str, value: Tensor, **settings: Any) -> tuple[nn.Parameter, Tiger]:
    p = nn.Parameter(value.clone())
    return p, Tiger([{"params": [p], "kind": kind}], **settings)


def step(optimizer: torch.optim.Optimizer, p: nn.Parameter, g: Tensor | None) -> None:
    p.grad = None if g is None else g.clone()
    optimizer.step()


def test_one_step_by_hand(form: str) -> None:
    start = torch.tensor([[3.0, -4.0], [0.0, 2.0]])
    g = torch.tensor([[5.0, -1.0], [0.0, 1e-8]])
    rms = math.sqrt((9 + 16 + 4) / 4)
    rows = torch.tensor([[math.sqrt(25 / 2)], [math.sqrt(4 / 2)]])
    for kind, s, decay in (
        ("matrix", torch.tensor(rms), 0.1),
        ("embedding", rows, 0.1),
        ("gain", torch.tensor(0.5), 0.1),
        ("bias", torch.tensor(0.5), 0.1),
    ):
        p, optimizer = one(kind, start, lr=0.01, weight_decay=decay)
        step(optimizer, p, g)
        torch.testing.assert_close(p.detach(), start - 0.01 * s * (g.sign() + decay * start))
        torch.testing.assert_close(optimizer.state[p]["momentum"], 0.035 * g)


def test_without_kinds_the_axes_decide() -> None:
    p, q = nn.Parameter(torch.full((2, 2), 4.0)), nn.Parameter(torch.full((2,), 4.0))
    optimizer = Tiger([p, q], lr=0.01, weight_decay=0.1)
    p.grad, q.grad = torch.ones(2, 2), torch.ones(2)
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.full((2, 2), 4 - 0.04 * 1.4))
    torch.testing.assert_close(q.detach(), torch.full((2,), 4 - 0.005))  # and no decay


def test_with_unit_scale_it_is_signum_with_decay(form: str) -> None:
    """A row of +-1 has RMS 1 at first; the scale is held there by resetting the weights."""
    torch.manual_seed(0)
    start = torch.randn(6, 5).sign()
    p, tiger = one("matrix", start, lr=0.1, beta=0.9, weight_decay=0.2)
    q = nn.Parameter(start.clone())
    signum = Signum([q], lr=0.1, beta=0.9, weight_decay=0.2)
    for _ in range(10):
        g = torch.randn(6, 5)
        step(tiger, p, g)
        step(signum, q, g)
        torch.testing.assert_close(p, q)
        with torch.no_grad():
            p.copy_(start), q.copy_(start)


@pytest.mark.parametrize("kind", KINDS)
def test_micro_steps_equal_one_step_on_a_larger_batch(form: str, kind: str) -> None:
    torch.manual_seed(0)
    start = torch.randn(8, 6)
    p, micro = one(kind, start, lr=0.01, grad_accum_steps=4)
    q, whole = one(kind, start, lr=0.01)
    for _ in range(10):
        grads = torch.randn(4, 8, 6)
        for i, g in enumerate(grads):
            before = p.detach().clone()
            step(micro, p, g)
            assert torch.equal(p, before) == (i < 3)
        step(whole, q, grads.mean(0))
        torch.testing.assert_close(p, q, atol=1e-6, rtol=0)


def test_a_share_of_a_cycle_may_lack(form: str) -> None:
    """No gradient in a micro-step counts as zero; none in the whole cycle leaves all as it was."""
    torch.manual_seed(0)
    start = torch.randn(8, 6)
    p, micro = one("matrix", start, lr=0.01, grad_accum_steps=3)
    q, whole = one("matrix", start, lr=0.01)
    for present in ("xxx", "-x-", "---", "x--", "--x", "xxx"):
        grads = [torch.randn(8, 6) if sign == "x" else None for sign in present]
        for g in grads:
            step(micro, p, g)
        given = [g for g in grads if g is not None]
        step(whole, q, sum(given, torch.zeros(8, 6)) / 3 if given else None)
        torch.testing.assert_close(p, q, atol=1e-6, rtol=0)


def test_phase_of_the_cycle_survives_a_checkpoint() -> None:
    results = []
    for interrupted in (False, True):
        torch.manual_seed(0)
        p, optimizer = one("matrix", torch.randn(4, 3), lr=0.01, grad_accum_steps=3)
        for t in range(12):
            if interrupted and t == 7:
                state = optimizer.state_dict()
                p, optimizer = one("matrix", p.detach(), grad_accum_steps=3)
                optimizer.load_state_dict(state)
            step(optimizer, p, torch.randn(4, 3))
        results.append(p.detach())
    assert torch.equal(*results)


def test_a_group_that_is_added_later_falls_in_step() -> None:
    p, optimizer = one("matrix", torch.ones(2, 2), grad_accum_steps=2)
    step(optimizer, p, torch.ones(2, 2))
    late = nn.Parameter(torch.ones(2, 2))
    optimizer.add_param_group({"params": [late], "kind": "matrix"})
    late.grad = torch.ones(2, 2)
    step(optimizer, p, torch.ones(2, 2))
    assert (p < 1).all()
    assert (late < 1).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_gradient_does_no_harm(form: str, kind: str, bad: float) -> None:
    torch.manual_seed(0)
    p, optimizer = one(kind, 1 + torch.randn(8, 6), lr=0.01)
    step(optimizer, p, torch.randn(8, 6))
    theta, m = p.detach().clone(), optimizer.state[p]["momentum"].clone()
    g = torch.randn(8, 6)
    g[2, 3] = bad
    step(optimizer, p, g)
    centre = 1.0 if kind == "gain" else 0.0
    torch.testing.assert_close(p.detach(), centre + 0.99 * (theta - centre))
    assert torch.equal(optimizer.state[p]["momentum"], m)
    step(optimizer, p, torch.randn(8, 6))
    assert p.isfinite().all()


def test_a_broken_micro_gradient_is_left_out_of_its_cycle(form: str) -> None:
    torch.manual_seed(0)
    settings = {"lr": 0.1, "beta": 0.5, "weight_decay": 0.0, "grad_accum_steps": 2}
    p, optimizer = one("bias", torch.ones(4), **settings)
    nan, g = torch.full((4,), math.nan), torch.ones(4)
    momenta = []
    for grads in ((g, g), (nan, g), (g, nan), (nan, nan)):
        for one_of_them in grads:
            step(optimizer, p, one_of_them)
        momenta.append(optimizer.state[p]["momentum"][0].item())
    # beta m + (1 - beta) / 2 * (what is left); the decay comes with the first good gradient
    assert momenta == [0.5, 0.25 + 0.25, 0.25 + 0.25, 0.5]
    # steps of 0.05 in the first two cycles, shrinking at each of the four broken gradients
    expected = (((1 - 0.05) * 0.99 - 0.05) * 0.99) * 0.99 * 0.99
    torch.testing.assert_close(p.detach(), torch.full((4,), expected))


def test_zero_matrices_never_move_unless_asked_to(form: str) -> None:
    p, optimizer = one("matrix", torch.zeros(3, 2), lr=0.1)
    with pytest.warns(UserWarning, match=r"Tiger scales by RMS .* set optimizer.min_rms"):
        step(optimizer, p, torch.ones(3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(optimizer, p, torch.ones(3, 2))  # said once
        q, lifted = one("matrix", torch.zeros(3, 2), lr=0.1, min_rms=0.5)
        step(lifted, q, torch.ones(3, 2))
        step(*reversed(one("gain", torch.zeros(3), lr=0.1)), torch.ones(3))
    assert torch.equal(p.detach(), torch.zeros(3, 2))
    torch.testing.assert_close(q.detach(), torch.full((3, 2), -0.05))


def test_a_zero_row_of_an_embedding_stays(form: str) -> None:
    start = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    p, optimizer = one("embedding", start, lr=0.1, weight_decay=0.0)
    step(optimizer, p, torch.ones(2, 2))
    torch.testing.assert_close(p.detach(), torch.tensor([[0.0, 0.0], [0.9, 0.9]]))


@pytest.mark.parametrize("steps", [1, 4])
def test_state_is_one_tensor_of_the_parameters_size(steps: int) -> None:
    p, optimizer = one("matrix", torch.ones(30, 10), grad_accum_steps=steps)
    step(optimizer, p, torch.ones(30, 10))
    assert state_bytes(optimizer) == p.numel() * 4


@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_agree(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over more than one block, with half-precision momentum too."""
    for dtype in (None, "bfloat16"):
        results = []
        for plain in (True, False):
            torch.manual_seed(0)
            p, optimizer = one(kind, torch.randn(700, 500), momentum_dtype=dtype)
            with monkeypatch.context() as patch:
                if not plain:
                    patch.setattr(module, "is_plain", lambda _: False)
                for _ in range(3):
                    step(optimizer, p, torch.randn(700, 500))
            results.append(p.detach())
        # A rounding may turn a sign where the momentum is almost zero.
        different = (results[0] - results[1]).abs() > 1e-6
        assert different.float().mean() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2])
def test_off_the_cpu_no_number_is_waited_for(kind: str, steps: int) -> None:
    """Reading a number of a meta tensor raises."""
    p, optimizer = one(kind, torch.empty(4, 3, device="meta"), min_rms=1e-3, grad_accum_steps=steps)
    for g in (p, p, None, p, None, None):
        step(optimizer, p, None if g is None else torch.empty_like(g))


def test_takes_the_groups_of_a_model() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    optimizer = Tiger(param_groups(model), lr=0.1, weight_decay=0.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    moved = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    rms = {name: w.square().mean(-1, keepdim=True).sqrt() for name, w in before.items()}
    for name in ("0.weight", "2.weight"):  # one number a row; the matrix has one row
        torch.testing.assert_close(moved[name], 0.1 * rms[name].expand(moved[name].shape))
    for name in ("1.weight", "1.bias", "2.bias"):
        torch.testing.assert_close(moved[name], torch.full_like(moved[name], 0.05))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grad_accum_steps": 0}, "grad_accum_steps must be at least 1, not 0"),
        ({"shrink_ratio": 1.5}, r"shrink_ratio=1.5 must lie in \[0, 1\]"),
        ({"min_rms": -1.0}, "min_rms=-1.0 must not be negative"),
    ],
)
def test_refuses_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tiger([nn.Parameter(torch.ones(2))], **settings)
