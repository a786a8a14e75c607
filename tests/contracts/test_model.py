"""What every pair of attention, position and mask that is not refused must do in a transformer."""

import functools
import io
import itertools
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

import suexp.config.compose  # noqa: F401  (its resolvers)
from suexp.code.instantiate import instantiate
from suexp.config.catalogue import Catalogue
from suexp.config.check import check
from suexp.errors import UserError
from suexp.mask.base import Mask

DIM, HEADS, LAYERS, LENGTH, VOCABULARY = 16, 2, 2, 12, 11
CATALOGUE = Catalogue()

# Sizes that show something in a text of 12 tokens; other options are taken as their YAML has them.
SMALLER: dict[str, list[dict[str, Any]]] = {
    "permutation": [{"order": [3, 0, 7, 1, 10, 2, 5, 11, 4, 9, 6, 8]}],
    "prefix": [{"length": 4}],
    "window": [{"size": 3}, {"size": 3, "causal": False}],
    "blockwise": [{"size": 4}],
}
BASE = {"norm": "layer", "init": "default", "model": "transformer", "data": "pydoc"}


def resolved(choices: dict[str, str], **changes: dict[str, Any]) -> dict[str, Any]:
    """Return the checked config of these choices; raise UserError where they are refused."""
    choices = BASE | choices
    nodes = {group: dict(CATALOGUE.option(group, name).content) for group, name in choices.items()}
    nodes["model"] |= {"dim": DIM, "num_heads": HEADS, "num_layers": LAYERS}
    nodes["data"] |= {"block_size": LENGTH}
    for group, values in changes.items():
        nodes[group] |= values
    nodes["seed"] = 0
    config: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(nodes), resolve=True)
    check(config, choices)
    return config


def build(config: dict[str, Any], seed: int = 0, **sizes: Any) -> Any:
    torch.manual_seed(seed)
    return instantiate(config["model"], **({"vocab_size": VOCABULARY} | sizes))


def combinations() -> tuple[list[Any], list[Any]]:
    """Every pair's config, the third being the usual one, and every refused pair's line."""
    allowed, refused = [], []
    groups = [list(CATALOGUE.groups[group]) for group in ("attention", "position", "mask")]
    for attention, position, mask in itertools.product(*groups):
        if (attention != "softmax") + (position != "rope") + (mask != "causal") > 2:
            continue
        for change in SMALLER.get(mask, [{}]):
            name = "-".join([attention, position, mask, *(f"{k}_{v}" for k, v in change.items())])
            choices = {"attention": attention, "position": position, "mask": mask}
            try:
                config = resolved(choices, mask=change)
            except UserError as error:
                refused.append(pytest.param(choices, str(error), id=name))
            else:
                allowed.append(pytest.param(config, id=name))
    return allowed, refused


ALLOWED, REFUSED = combinations()
EVERY = pytest.mark.parametrize("config", ALLOWED)
# Those that differ from softmax-rope-causal in one part at most: each option once.
EACH = pytest.mark.parametrize(
    "config",
    [
        case
        for case in ALLOWED
        if sum(usual in str(case.id) for usual in ("softmax-", "-rope-", "-causal")) > 1
    ],
)


def tokens(rows: int = 2) -> Tensor:
    return torch.randint(VOCABULARY, (rows, LENGTH), generator=torch.Generator().manual_seed(3))


def is_autoregressive(mask: Mask) -> bool:
    features = type(mask).provides
    return "autoregressive" in features or (
        "autoregressive if causal" in features and mask.causal  # type: ignore[attr-defined]
    )


def table(mask: Mask) -> Tensor:
    """Which key each query may look at."""
    allowed = mask.dense(LENGTH, LENGTH)
    return torch.ones(LENGTH, LENGTH, dtype=torch.bool) if allowed is None else allowed


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("choices", "line"), REFUSED)
def test_refusals_name_both_and_a_way_out(choices: dict[str, str], line: str) -> None:
    assert "\n" not in line
    named = [
        f"{group}={option}" for group, option in choices.items() if f"{group}={option}" in line
    ]
    assert len(named) >= 2
    assert "use " in line


@EVERY
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_trains_with_finite_gradients(config: dict[str, Any], precision: torch.dtype) -> None:
    model = build(config)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        logits = model(tokens())
    assert logits.shape == (2, LENGTH, VOCABULARY)
    loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens().flatten())
    assert 0.5 < loss.item() < 10
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero() > 0, name


@EACH
def test_in_float64_the_gradient_is_the_difference_quotient(config: dict[str, Any]) -> None:
    """To seven digits, which no number that passed through float32 would allow."""
    model = build(config).double().eval()
    parameters = list(model.parameters())
    ways = [torch.randn_like(parameter) for parameter in parameters]

    def loss(share: float) -> Tensor:
        moved = {
            name: parameter.detach() + share * way
            for (name, parameter), way in zip(model.named_parameters(), ways, strict=True)
        }
        logits = torch.func.functional_call(model, moved, (tokens(),))
        assert logits.dtype == torch.float64
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens().flatten())

    loss_here = nn.functional.cross_entropy(model(tokens()).flatten(0, 1), tokens().flatten())
    gradients = torch.autograd.grad(loss_here, parameters)
    slope = sum((g * way).sum() for g, way in zip(gradients, ways, strict=True))
    step = 1e-6
    with torch.no_grad():
        quotient = (loss(step) - loss(-step)) / (2 * step)
    torch.testing.assert_close(quotient, slope, rtol=1e-5, atol=1e-8)


@EVERY
def test_sees_what_the_mask_allows_and_nothing_else(config: dict[str, Any]) -> None:
    """By gradient: row r of the batch asks what token r's logits depend on."""
    model = build(config).eval()
    embedded: list[Tensor] = []
    model.embedding.register_forward_hook(lambda *args: embedded.append(args[2]))
    logits = model(tokens(1).expand(LENGTH, LENGTH))
    rows = torch.arange(LENGTH)
    asked = (logits[rows, rows] * torch.randn(VOCABULARY)).sum()
    (gradient,) = torch.autograd.grad(asked, embedded)
    influence = gradient.abs().amax(-1)
    steps = (table(model.mask) | torch.eye(LENGTH, dtype=torch.bool)).float()
    reach = functools.reduce(torch.matmul, [steps] * LAYERS) > 0
    assert influence[~reach].count_nonzero() == 0
    assert (influence[reach] > 0).all()
    if is_autoregressive(model.mask):
        start = getattr(model.mask, "length", 0)
        assert influence[start:].triu(start + 1).count_nonzero() == 0


@EVERY
def test_padding_changes_nothing(config: dict[str, Any]) -> None:
    model = build(config).eval()
    keep = torch.arange(LENGTH) < torch.tensor([[LENGTH], [7]])
    text = tokens()
    other = text.where(keep, (text + 1) % VOCABULARY)
    logits = model(text, keep)
    close(logits[keep], model(other, keep)[keep])
    if "order" in config["mask"]:  # it fits texts of its own length only
        return
    close(logits[1:, :7], model(text[1:, :7]))
    close(logits[:1], model(text[:1]))


@EVERY
def test_state_dict_round_trip(config: dict[str, Any]) -> None:
    model, other, file = build(config).eval(), build(config, seed=1).eval(), io.BytesIO()
    expected = model(tokens())
    assert not torch.allclose(other(tokens()), expected)
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(tokens()), expected)


@EVERY
def test_decoding_equals_reading(config: dict[str, Any]) -> None:
    model = build(config).eval()
    if not is_autoregressive(model.mask):
        return
    state, pieces = None, []
    for piece in tokens().split([5, 1, 1, 5], dim=1):
        logits, state = model.decode(piece, state)
        pieces.append(logits)
    close(torch.cat(pieces, 1), model(tokens()))


@EVERY
def test_classifies(config: dict[str, Any]) -> None:
    model = build(config, num_outputs=3)
    logits = model(tokens(), torch.arange(LENGTH) < torch.tensor([[LENGTH], [7]]))
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize("norm_order", ["pre", "post"])
@pytest.mark.parametrize("init", CATALOGUE.groups["init"])
@pytest.mark.parametrize("norm", CATALOGUE.groups["norm"])
def test_every_norm_and_init(norm: str, init: str, norm_order: str) -> None:
    choices = {"attention": "softmax", "position": "rope", "mask": "causal"}
    config = resolved(choices | {"norm": norm, "init": init}, model={"norm_order": norm_order})
    model = build(config)
    loss = nn.functional.cross_entropy(model(tokens()).flatten(0, 1), tokens().flatten())
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("init", sorted(set(CATALOGUE.groups["init"]) - {"score_gain"}))
@pytest.mark.parametrize("norm", [*CATALOGUE.groups["norm"], None])
def test_the_perceptron(norm: str | None, init: str) -> None:
    nodes = {
        "model": dict(CATALOGUE.option("model", "mlp").content),
        "norm": dict(CATALOGUE.option("norm", norm or "layer").content),
        "init": dict(CATALOGUE.option("init", init).content),
    }
    if norm is None:
        nodes["model"]["norm"] = None
    config: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(nodes), resolve=True)
    model = instantiate(config["model"], input_dim=5, num_outputs=3)
    x = torch.randn(4, 5)
    model(x).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
