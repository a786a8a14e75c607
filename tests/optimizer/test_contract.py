"""What every optimizer keeps, whichever YAML is added to conf/optimizer."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.contract.check import Check, checks
from suexp.contract.subject import Subject
from tests.support.options import content, options

OPTIONS = options("optimizer")
# What suits matrices this small.
SMALL = {"lora": {"rank": 1, "rest": "full"}}
# Those that step on the parameters themselves, and have their decay.
DIRECT = [option for option in OPTIONS if option != "lora"]
FORMS = [
    (option, form)
    for option in OPTIONS
    for key in ("foreach", "fused")
    if key in content("optimizer", option)
    for form in ({key: None}, {key: True}, {key: False})
] + [(option, {}) for option in ("tiger", "sgdm", "adam_accum", "egd", "egd_meta", "egdd")]


def subject(option: str) -> Subject:
    node = content("optimizer", option) | SMALL.get(option, {})
    return Subject(f"optimizer={option}", "optimizer", node)


def load(option: str, **changes: Any) -> partial[torch.optim.Optimizer]:
    return subject(option).made(**changes)


@pytest.mark.parametrize("check", checks("optimizer"), ids=str)
@pytest.mark.parametrize("option", OPTIONS)
def test_keeps_the_contract(option: str, check: Check) -> None:
    if option not in DIRECT and "minimum" in str(check):
        pytest.skip("it steps on factors of the parameters")
    check(subject(option))


@pytest.mark.parametrize("option", OPTIONS)
def test_yaml_lists_every_default(option: str) -> None:
    made = load(option)
    parameters = list(inspect.signature(made.func).parameters.values())[1:]
    defaults = {
        p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in parameters
    }
    rates = made.keywords.pop("lr"), defaults.pop("lr")  # may suit the default model instead
    assert all(rate > 0 for rate in rates)
    assert made.keywords == defaults | SMALL.get(option, {})


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "lr=0.0: the learning rate must be above 0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"lr": math.nan}, "lr=nan"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must not be negative"),
        ({"beta": 1.0}, r"beta=1.0: the decay of a momentum must lie in \[0, 1\)"),
        ({"beta": -0.1}, "beta=-0.1"),
    ],
)
def test_refuses_settings_out_of_range(option: str, changes: dict[str, Any], message: str) -> None:
    made = load(option)
    if "weight_decay" in changes and option not in DIRECT:
        pytest.skip("its base has the decay")
    if beta := changes.get("beta"):
        names = [key for key in ("beta", "betas", "momentum") if key in made.keywords]
        if not names:
            pytest.skip("it has no momentum")
        name = names[0]
        changes = {name: [0.9, beta] if name == "betas" else beta}
    with pytest.raises(ValueError, match=message) as caught:
        made([nn.Parameter(torch.ones(2))], **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("option", "form"), FORMS)
def test_every_form_equals_the_naive_one(option: str, form: dict[str, bool | None]) -> None:
    torch.manual_seed(0)
    # More than a block of 256 Ki elements, and a last block of another size.
    # In float64, as a float32 rounding may turn a sign.
    start = [torch.randn(s).double().mul(0.1) for s in ((700, 500), (3, 4), (5,))]
    parameters = [nn.Parameter(p.clone()) for p in start]
    reference, states = [p.clone() for p in start], [{} for _ in start]
    made = load(option, weight_decay=0.1, **form)
    optimizer = made(parameters)
    for t in range(1, 5):
        optimizer.param_groups[0]["lr"] = lr = 0.01 / t
        for i, p in enumerate(parameters):
            p.grad = torch.randn_like(p)
            REFERENCE[option](reference[i], p.grad, states[i], lr, 0.1, t)
        optimizer.step()
    for p, expected in zip(parameters, reference, strict=True):
        torch.testing.assert_close(p.detach(), expected, atol=1e-14, rtol=1e-12)


def _adam(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, _: float, t: int) -> None:
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g * g
    m, v = state["m"] / (1 - 0.9**t), state["v"] / (1 - 0.999**t)
    p -= lr * m / (v.sqrt() + 1e-8)


def adam(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    _adam(p, g + decay * p, state, lr, decay, t)


def adamw(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    p *= 1 - lr * decay
    _adam(p, g, state, lr, decay, t)


def sgd(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    state["m"] = 0.9 * state.get("m", 0) + g + decay * p
    p -= lr * state["m"]


def lion(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    u = torch.sign(0.95 * state.get("m", 0) + 0.05 * g)
    p -= lr * (u + decay * p)
    state["m"] = 0.98 * state.get("m", 0) + 0.02 * g


def signum(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    p -= lr * (torch.sign(state["m"]) + decay * p)


def tiger(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    state["m"] = 0.965 * state.get("m", 0) + 0.035 * g
    s, decay = (p.square().mean().sqrt(), decay) if p.ndim > 1 else (0.5, 0.0)
    p -= lr * s * (torch.sign(state["m"]) + decay * p)


def sgdm(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * (g + decay * p)
    p -= lr * state["m"]


def egd(p: Tensor, g: Tensor, _: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    """A difference of two positive parameters whose product is a quarter."""
    p *= 1 - lr * decay
    u, v = ((p * p + 1).sqrt() + p) / 2, ((p * p + 1).sqrt() - p) / 2
    p.copy_(u * torch.exp(-lr * g) - v * torch.exp(lr * g))


def egd_meta(
    p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int
) -> None:
    state["gain"] = state.get("gain", 1) * torch.exp(0.02 * torch.sign(g * state.get("g", 0 * g)))
    state["g"] = g.clone()
    p -= lr * (decay * p + state["gain"] * g)


def egdd(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, decay: float, t: int) -> None:
    m, mean = state.get("m", 0 * g), state.get("mean", 0 * g)
    cosine = (g * m).sum() / (g.norm() + 1e-10) / (m.norm() + 1e-10)
    state["s"] = state.get("s", 1) * torch.exp(0.001 * cosine)
    state["gain"] = state.get("gain", 1) * torch.exp(0.01 * torch.sign(g) * torch.sign(mean))
    state["m"] = 0.9 * m + lr * state["gain"] * g
    state["mean"] = 0.9 * mean + 0.1 * g
    p -= lr * decay * p + state["s"] * state["m"]


REFERENCE: dict[str, Callable[..., None]] = {
    "adam": adam, "adam_accum": adamw, "adamw": adamw, "egd": egd, "egd_meta": egd_meta,
    "egdd": egdd, "lion": lion, "sgd": sgd, "sgdm": sgdm, "signum": signum, "tiger": tiger,
}  # fmt: skip
