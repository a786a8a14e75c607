"""What every optimizer keeps, whichever YAML is added to conf/optimizer."""

import copy
import importlib
import inspect
import math
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from suexp.nn.param_groups import build_optimizer

CONF = Path(__file__).parents[2] / "conf" / "optimizer"
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml"))
# What suits matrices this small.
SMALL = {"lora": {"rank": 1, "rest": "full"}}
# Those that step on the parameters themselves, and have their decay.
DIRECT = [option for option in OPTIONS if option != "lora"]
FORMS = [
    (option, form)
    for option in OPTIONS
    for key in ("foreach", "fused")
    if key in yaml.safe_load((CONF / f"{option}.yaml").read_text())
    for form in ({key: None}, {key: True}, {key: False})
] + [(option, {}) for option in ("tiger", "sgdm", "adam_accum", "egd", "egd_meta", "egdd")]


def load(option: str, **changes: Any) -> partial[torch.optim.Optimizer]:
    settings = yaml.safe_load((CONF / f"{option}.yaml").read_text())
    module, name = settings.pop("_target_").rsplit(".", 1)
    settings |= SMALL.get(option, {})
    return partial(getattr(importlib.import_module(module), name), **{**settings, **changes})


def a_model() -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(7, 6), nn.LayerNorm(6), nn.Linear(6, 5), nn.Linear(5, 1))
    model[3].bias.requires_grad_(False)
    return model


def train(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: Iterable[int]) -> None:
    for seed in seeds:
        torch.manual_seed(seed)
        x, y = torch.randint(7, (8,)), torch.randn(8, 1)
        optimizer.zero_grad()
        (model(x).float() - y).square().mean().backward()
        optimizer.step()


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def copied(state: dict[str, Any]) -> dict[str, Any]:
    """The state after a trip through a file that holds no code."""
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


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


@pytest.mark.parametrize("option", DIRECT)
def test_finds_the_minimum_of_a_quadratic(option: str) -> None:
    target = torch.tensor([[1.0, -2.0, 0.5], [3.0, -1.0, 2.0]])
    p = nn.Parameter(torch.full_like(target, 0.3))
    steps, lr = 400, 0.05
    optimizer = load(option, lr=lr, weight_decay=0.0)([p])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimizer.zero_grad()
        (0.5 * (p - target).square().sum()).backward()
        optimizer.step()
    torch.testing.assert_close(p.detach(), target, atol=0.03, rtol=0)


@pytest.mark.parametrize("option", OPTIONS)
def test_resumed_equals_uninterrupted(option: str) -> None:
    straight = a_model()
    optimizer = build_optimizer(load(option), straight)
    train(straight, optimizer, range(5))
    weights_then, state_then = copied(straight.state_dict()), copied(optimizer.state_dict())
    train(straight, optimizer, range(5, 10))

    resumed = a_model()
    resumed.load_state_dict(weights_then)
    again = build_optimizer(load(option, lr=0.5), resumed)  # the saved rate wins
    again.load_state_dict(state_then)
    train(resumed, again, range(5, 10))
    assert torch.equal(weights(straight), weights(resumed))
    assert str(optimizer.state_dict()) == str(again.state_dict())


@pytest.mark.parametrize("option", OPTIONS)
def test_state_shares_nothing_with_what_was_loaded(option: str) -> None:
    one, other = a_model(), a_model()
    first, second = build_optimizer(load(option), one), build_optimizer(load(option), other)
    train(one, first, range(2))
    state = copied(first.state_dict())
    second.load_state_dict(copy.deepcopy(state))
    train(other, second, range(2))
    assert str(state) == str(first.state_dict())


@pytest.mark.parametrize("option", OPTIONS)
def test_trains_half_precision(option: str) -> None:
    model = a_model().bfloat16()
    before = weights(model)
    optimizer = build_optimizer(load(option, lr=0.05), model)
    train(model, optimizer, range(5))
    after = weights(model)
    assert after.dtype is torch.bfloat16
    assert after.isfinite().all()
    assert not torch.equal(before, after)
    state = copied(optimizer.state_dict())
    optimizer.load_state_dict(state)
    assert str(optimizer.state_dict()) == str(state)


@pytest.mark.parametrize("option", OPTIONS)
def test_passes_over_what_it_cannot_move(option: str) -> None:
    unused, empty = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(0, 4))
    scalar, frozen = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.ones(2, 2), False)
    optimizer = load(option, lr=0.01)([scalar, unused, empty, frozen])
    empty.grad, scalar.grad = torch.zeros(0, 4), torch.tensor(2.0)
    optimizer.step()
    assert torch.equal(unused, torch.ones(3, 2))
    assert torch.equal(frozen, torch.ones(2, 2))
    assert unused not in optimizer.state
    assert 0.9 < scalar.item() < 1


@pytest.mark.parametrize("option", OPTIONS)
def test_a_closure_is_called_with_gradients_on(option: str) -> None:
    p = nn.Parameter(torch.ones(2, 2))
    optimizer = load(option)([p])

    def closure() -> Tensor:
        loss = p.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 4
    assert (p < 1).all()


@pytest.mark.parametrize("option", OPTIONS)
def test_takes_every_layout(option: str) -> None:
    torch.manual_seed(0)
    whole = torch.randn(40, 30), torch.randn(40, 30)
    plain = nn.Parameter(whole[0].clone())
    transposed = nn.Parameter(whole[0].t().contiguous().t())
    strided = nn.Parameter(torch.stack([whole[0], whole[0]], -1)[..., 0])
    for p in (plain, transposed, strided):
        optimizer = load(option)([p])
        for _ in range(3):
            p.grad = whole[1].clone()
            optimizer.step()
    torch.testing.assert_close(transposed, plain)
    torch.testing.assert_close(strided, plain)


@pytest.mark.parametrize("option", OPTIONS)
def test_the_scaler_of_mixed_precision_changes_nothing(option: str) -> None:
    plain, scaled = a_model(), a_model()
    train(plain, build_optimizer(load(option), plain), range(5))
    optimizer = build_optimizer(load(option), scaled)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for seed in range(5):
        torch.manual_seed(seed)
        x, y = torch.randint(7, (8,)), torch.randn(8, 1)
        optimizer.zero_grad()
        scaler.scale((scaled(x) - y).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert torch.equal(weights(plain), weights(scaled))


@pytest.mark.parametrize("option", OPTIONS)
def test_leaves_the_scaling_to_the_scaler(option: str) -> None:
    """Lightning refuses to clip the gradients of an optimizer that unscales by itself."""
    optimizer = build_optimizer(load(option), a_model())
    assert not getattr(optimizer, "_step_supports_amp_scaling", False)


@pytest.mark.parametrize("option", DIRECT)
def test_decay_is_by_kind(option: str) -> None:
    for decay_embeddings in (True, False):
        optimizer = build_optimizer(
            load(option, weight_decay=0.3, decay_embeddings=decay_embeddings), a_model()
        )
        decays = {group["kind"]: group["weight_decay"] for group in optimizer.param_groups}
        spared = 0.3 if decay_embeddings else 0.0
        assert decays == {"matrix": 0.3, "embedding": spared, "gain": 0.0, "bias": 0.0}


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
