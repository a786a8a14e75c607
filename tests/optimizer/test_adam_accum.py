from typing import get_args

import pytest
import torch
from torch import nn

from suexp.job.cost import state_bytes
from suexp.optimizer import AdamAccum
from suexp.optimizer.adam_accum import Mode
from tests.optimizer.micro import digits_like, missing, phases, step

MODES = get_args(Mode)


@pytest.mark.parametrize("mode", MODES)
def test_with_one_batch_a_step_it_is_torch_s_adam(mode: str) -> None:
    one, other = digits_like(), digits_like()
    ours = AdamAccum(one.parameters(), lr=0.01, mode=mode)
    torch_s = torch.optim.Adam(other.parameters(), lr=0.01)
    for _ in range(50):
        x, y = torch.randn(8, 6).double(), torch.randint(3, (8,))
        step(one, ours, x, y)
        step(other, torch_s, x, y)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_explicit_is_adam_on_the_mean_gradient() -> None:
    micro, whole = digits_like(), digits_like()
    settings = {"lr": 0.01, "weight_decay": 0.1}
    explicit = AdamAccum(micro.parameters(), grad_accum_steps=4, mode="explicit", **settings)
    adamw = torch.optim.AdamW(whole.parameters(), **settings)
    for _ in range(10):
        x, y = torch.randn(4, 8, 6).double(), torch.randint(3, (4, 8))
        for inputs, labels in zip(x, y, strict=True):
            step(micro, explicit, inputs, labels)
        step(whole, adamw, x.flatten(0, 1), y.flatten())
    for a, b in zip(micro.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_where_gradients_agree_hidden_is_explicit() -> None:
    torch.manual_seed(0)
    p, q = (nn.Parameter(torch.ones(5).double()) for _ in range(2))
    hidden = AdamAccum([p], grad_accum_steps=4, weight_decay=0.1)
    explicit = AdamAccum([q], grad_accum_steps=4, weight_decay=0.1, mode="explicit")
    for _ in range(10):
        g = torch.randn(5).double()
        for _ in range(4):
            p.grad, q.grad = g.clone(), g.clone()
            hidden.step()
            explicit.step()
        torch.testing.assert_close(p, q, atol=1e-15, rtol=1e-14)


def test_of_pure_noise_hidden_sees_k_times_the_square() -> None:
    torch.manual_seed(0)
    k, p, q = 8, nn.Parameter(torch.zeros(2000)), nn.Parameter(torch.zeros(2000))
    hidden = AdamAccum([p], grad_accum_steps=k)
    explicit = AdamAccum([q], grad_accum_steps=k, mode="explicit")
    for _ in range(200 * k):  # 400,000 cycles of one coordinate
        p.grad = torch.randn(2000)
        q.grad = p.grad.clone()
        hidden.step()
        explicit.step()
    ratio = hidden.state[p]["exp_avg_sq"].mean() / explicit.state[q]["exp_avg_sq"].mean()
    assert ratio.item() == pytest.approx(k, rel=0.05)
    torch.testing.assert_close(hidden.state[p]["exp_avg"], explicit.state[q]["exp_avg"])


def by_hand(mode: str, gradients: list[float], k: int, lr: float, bias_correction: bool) -> float:
    """The post's formulas, a number at a time."""
    betas, theta, moments, decays = (0.9, 0.99), 1.0, [0.0, 0.0], 0
    tilde = [1 - (1 - beta) / k for beta in betas]
    for t, g in enumerate(gradients, 1):
        first = (t - 1) % k == 0
        decays += first if mode == "hidden" else 1
        for i, (beta, x) in enumerate(zip(betas, (g, g * g), strict=True)):
            if mode == "hidden":
                moments[i] = (beta if first else 1) * moments[i] + (1 - beta) / k * x
            elif mode == "skip":
                moments[i] = beta * moments[i] + (1 - beta) * x
            else:
                moments[i] = tilde[i] * moments[i] + (1 - tilde[i]) * x
        if t % k == 0 or mode == "beta":
            base = tilde if mode.startswith("beta") else betas
            m, v = (
                a / (1 - b**decays) if bias_correction else a
                for a, b in zip(moments, base, strict=True)
            )
            theta -= lr * m / (v + 1e-3) ** 0.5
    return theta


@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "explicit"])
def test_each_mode_follows_its_formula(mode: str, bias_correction: bool) -> None:
    torch.manual_seed(0)
    gradients = (1 + torch.randn(13).double()).tolist()
    p = nn.Parameter(torch.ones(1).double())
    optimizer = AdamAccum(
        [p], lr=0.1, betas=(0.9, 0.99), eps=1e-3, grad_accum_steps=3, mode=mode,
        eps_inside_sqrt=True, bias_correction=bias_correction,
    )  # fmt: skip
    for g in gradients:
        p.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
    expected = by_hand(mode, gradients, 3, 0.1, bias_correction)
    assert p.item() == pytest.approx(expected, abs=1e-14)
    assert optimizer.updates == (13 if mode == "beta" else 4)


def test_the_modes_are_not_the_same() -> None:
    ends = {by_hand(mode, [1.0, -0.5, 2.0, 0.3, 1.0, 0.7], 3, 0.1, True) for mode in MODES[:4]}
    assert len(ends) == 4


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "beta"])
def test_nothing_moves_within_a_cycle(mode: str) -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = AdamAccum([p], grad_accum_steps=4, mode=mode)
    for t in range(1, 13):
        before = p.detach().clone()
        p.grad = torch.randn(3)
        optimizer.step()
        assert torch.equal(p, before) == (t % 4 != 0)


@pytest.mark.parametrize("mode", MODES)
def test_state(mode: str) -> None:
    p = nn.Parameter(torch.ones(3, 4, dtype=torch.bfloat16))
    optimizer = AdamAccum([p], grad_accum_steps=2, mode=mode)
    p.grad = torch.ones_like(p)
    optimizer.step()
    assert state_bytes(optimizer) == (3 if mode == "explicit" else 2) * 4 * p.numel()
    phases(lambda p: AdamAccum([p], lr=0.1, grad_accum_steps=3, mode=mode))


def test_a_micro_step_without_a_gradient_counts_as_one_of_zeros() -> None:
    missing(
        lambda p, k: AdamAccum(
            [p], lr=0.1, weight_decay=0.1, grad_accum_steps=k, mode="explicit" if k > 1 else "skip"
        )
    )


def test_a_negative_eps_is_refused() -> None:
    with pytest.raises(ValueError, match="eps=-1"):
        AdamAccum([nn.Parameter(torch.ones(2))], eps=-1)
