import math

import pytest
import torch
from torch import nn

from suexp.job.cost import state_bytes
from suexp.optimizer import EGDD
from tests.optimizer.micro import digits_like, step, trajectory

# Three steps on (x^2 + 10 y^2) / 2 from (1, -2), computed number by number as in lingvo's egdd.py.
# The second gradient of y is 0.
BY_HAND = {
    "signs": [
        (0.9, 0.0),
        (0.6580168877595892, 1.8271693206620274),
        (0.36092227672838606, 2.213639740104884),
    ],
    "products": [
        (0.9, 0.0),
        (0.7190235384984838, 1.8016207292187492),
        (0.5481694321749138, 2.738644683086013),
    ],
}
RATES = {
    "signs": {"gain_lr": 0.5, "scale_lr": 0.3},
    "products": {
        "gain_lr": 0.01, "scale_lr": 0.01, "use_signs": False, "use_directions": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("scope", ["tensor", "global"])
@pytest.mark.parametrize("form", BY_HAND)
def test_three_steps_by_hand(form: str, scope: str) -> None:
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = EGDD([p], lr=0.1, scale_scope=scope, **RATES[form])
    for expected in BY_HAND[form]:
        p.grad = p.detach() * torch.tensor([1.0, 10.0])
        optimizer.step()
        torch.testing.assert_close(p.detach(), torch.tensor(expected).double(), atol=1e-6, rtol=0)
        assert p.tolist() == pytest.approx(expected, abs=1e-12)
    assert state_bytes(optimizer) == 3 * 8 * 2


def test_one_scale_for_all_is_that_of_the_joined_tensor() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(6).double(), torch.randn(10, 6).double()
    joined = nn.Parameter(start.clone())
    parts = [nn.Parameter(part.clone()) for part in (start[:2], start[2:])]
    groups = [{"params": [part]} for part in parts]
    settings = {"lr": 0.1, "scale_lr": 0.3}
    one = EGDD([joined], **settings)
    both = EGDD(groups, scale_scope="global", **settings)
    apart = EGDD([nn.Parameter(part.detach().clone()) for part in parts], **settings)
    for g in gradients:
        joined.grad, parts[0].grad, parts[1].grad = g.clone(), g[:2].clone(), g[2:].clone()
        for p, part in zip(apart.param_groups[0]["params"], parts, strict=True):
            p.grad = part.grad.clone()
        one.step(), both.step(), apart.step()
    torch.testing.assert_close(torch.cat([p.detach() for p in parts]), joined.detach())
    found = torch.cat([p.detach() for p in apart.param_groups[0]["params"]])
    assert (found - joined.detach()).abs().max() > 1e-3


def test_without_rates_it_is_sgd_with_momentum() -> None:
    one, other = digits_like(), digits_like()
    ours = EGDD(one.parameters(), lr=0.1, gain_lr=0.0, scale_lr=0.0)
    plain = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for _ in range(30):
        x, y = torch.randn(8, 6).double(), torch.randint(3, (8,))
        step(one, ours, x, y)
        step(other, plain, x, y)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=0)


def test_signs_and_cosines_do_not_see_the_loss_s_scale_and_products_do() -> None:
    fast = {"gain_lr": 0.1, "scale_lr": 0.1}
    torch.testing.assert_close(
        trajectory(EGDD, 1, **fast), trajectory(EGDD, 1000, **fast), atol=1e-6, rtol=0
    )
    for raw in ("use_signs", "use_directions"):
        settings = {**fast, raw: False}
        assert (
            trajectory(EGDD, 1, **settings) - trajectory(EGDD, 1000, **settings)
        ).abs().max() > 1e-2


def test_bounds_and_diagnostics() -> None:
    p = nn.Parameter(torch.zeros(3))
    optimizer = EGDD([p], lr=1e-3, gain_lr=1.0, scale_lr=1.0, max_gain=4.0, max_scale=2.0)
    for _ in range(5):
        p.grad = torch.ones(3)
        optimizer.step()
    expected = {"gain_mean": 4.0, "gain_p05": 4.0, "gain_p95": 4.0, "scale_mean": 2.0}
    assert optimizer.diagnostics() == pytest.approx(expected)
    assert math.isfinite(p.detach().sum())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gain_lr": -1}, "gain_lr=-1 must not be negative"),
        ({"max_scale": 0.5}, "min_scale=0.1 and max_scale=0.5: 1 must lie between them"),
        ({"momentum": 1.0}, "must lie in"),
    ],
)
def test_refusals(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EGDD([nn.Parameter(torch.ones(2))], **settings)
