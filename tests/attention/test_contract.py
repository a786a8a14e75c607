"""What every option of the group must do, built from its YAML."""

import copy
import importlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from suexp.attention.base import Attention
from suexp.mask import Bidirectional, Causal, ExcludeSelf, Padding, Prefix, Window
from suexp.mask.base import Mask
from tests.attention.reference import by_definition
from tests.support.processes import one_apart

CONF = Path(__file__).parents[2] / "conf" / "attention"
SIZES = {"${model.key_dim}": 8, "${model.dim}": 24, "${model.num_heads}": 3, "${seed}": 0}
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml"))
PATTERNS = [Prefix(3), Window(3), ExcludeSelf(), Window(3, causal=False)]
# What an option computes elsewhere than as its YAML has it.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("linear", {"feature_multiplier": 2}),
    ("linear", {"feature_map": "relu"}),
    ("performer", {"eps": 1e-3}),
    ("performer", {"kernel": "hyperbolic", "eps": 0.1}),
    ("performer", {"kernel": "relu"}),
    ("taylor", {"implementation": "quadratic"}),
    ("taylor", {"order": 1, "l2_normalize": True}),
    ("softmax", {"kernel": "materialised"}),
]
ODD = 71  # more than a chunk of every option, and no multiple of any


def node(option: str) -> dict[str, Any]:
    config = yaml.safe_load((CONF / f"{option}.yaml").read_text())
    return {key: SIZES.get(str(value), value) for key, value in config.items()}


def build(option: str, **changes: Any) -> Attention:
    arguments = node(option) | changes
    module, name = arguments.pop("_target_").rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**arguments)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()


def qkv(n: int, m: int | None = None, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    m = n if m is None else m
    return [
        draw(2, 3, n, 8, dtype=dtype),
        draw(2, 3, m, 8, dtype=dtype),
        draw(2, 3, m, 5, dtype=dtype),
    ]


def keep_some(m: int) -> Tensor:
    keep = torch.rand(2, m) > 0.3
    keep[0, : m // 3] = False  # padded on the left
    keep[1, -(m // 3) :] = False  # padded on the right
    keep[:, m // 2] = True
    return keep


@pytest.fixture(params=OPTIONS)
def attention(request: pytest.FixtureRequest) -> Attention:
    return build(request.param).eval()


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, ODD])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_equals_its_definition_in_float64(
    attention: Attention, mask: Mask, padded: bool, n: int
) -> None:
    attention = attention.double()
    inputs = qkv(n, dtype=torch.float64)
    if padded:
        mask = mask & Padding(keep_some(n) if n > 2 else torch.ones(2, n, dtype=torch.bool))
    out, expected = attention(*inputs, mask), by_definition(attention, *inputs, mask)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    g = torch.randn_like(out)
    grads, wanted = (torch.autograd.grad(x, inputs, g) for x in (out, expected))
    for grad, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_explicit_weights_are_those_of_the_values(attention: Attention, mask: Mask) -> None:
    """What callback=attention_stats measures, where there is something explicit to measure."""
    if not hasattr(attention, "weights"):
        pytest.skip("it forms no weights")
    q, k, v = qkv(9, dtype=torch.float64)
    mask = mask & Padding(keep_some(9))
    attention = attention.double()
    weights = attention.weights(q, k, mask)
    torch.testing.assert_close(weights @ v, attention(q, k, v, mask), rtol=1e-10, atol=1e-12)
    assert attention.scores(q, k, mask).shape == weights.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_is_finite_forward_and_backward(
    attention: Attention, mask: Mask, dtype: torch.dtype
) -> None:
    attention.train()
    inputs = qkv(ODD, dtype=dtype)
    out = attention.to(dtype)(*inputs, mask)
    assert out.dtype == dtype
    out.float().square().sum().backward()
    for x in (out, *(x.grad for x in inputs)):
        assert x is not None
        assert x.isfinite().all()


def test_autocast_keeps_close_to_float32(attention: Attention) -> None:
    inputs = qkv(ODD)
    expected = attention(*inputs, Causal())
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(*inputs, Causal())
    assert (out - expected).abs().max() < 0.05
    out.float().sum().backward()


def test_is_causal_by_gradient(attention: Attention) -> None:
    inputs = qkv(40)
    out = attention(*inputs, Causal())
    for i in (0, 1, 17, 31, 32, 39):
        for x, grad in zip(
            inputs, torch.autograd.grad(out[:, :, i].sum(), inputs, retain_graph=True), strict=True
        ):
            assert grad.shape == x.shape
            assert (grad[:, :, i + 1 :] == 0).all()
    for x in inputs[1:]:  # and what is allowed arrives
        (grad,) = torch.autograd.grad(out[:, :, -1].square().sum(), x, retain_graph=True)
        assert (grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_padding_changes_nothing(attention: Attention, mask: Mask, left: bool) -> None:
    q, k, v = qkv(11)
    expected = attention(q, k, v, mask)
    keep = torch.ones(2, 11, dtype=torch.bool)
    garbage = torch.randn(2, 3, 40, 8) * 10

    def pad(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([y, x] if left else [x, y], -2)

    nothing = torch.zeros(2, 40, dtype=torch.bool)
    keep = torch.cat([nothing, keep] if left else [keep, nothing], 1)
    out = attention(
        pad(q, garbage), pad(k, garbage), pad(v, garbage[..., :5]), mask & Padding(keep)
    )
    real = out[:, :, 40:] if left else out[:, :, :11]
    torch.testing.assert_close(real, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_rows_that_see_nothing_are_zero(attention: Attention, mask: Mask) -> None:
    inputs = qkv(40)
    keep = torch.ones(2, 40, dtype=torch.bool)
    keep[0] = False
    keep[1, :5] = False
    out = attention(*inputs, mask & Padding(keep))
    assert (out[0] == 0).all()
    blind = 5 if mask.find(Causal) else 0
    assert (out[1, :, :blind] == 0).all()
    assert (out[1, :, blind:] != 0).any(-1).all()
    for grad in torch.autograd.grad(out.square().sum() + out.sum(), inputs):
        assert grad.isfinite().all()
        assert (grad[0] == 0).all()


@pytest.mark.parametrize("padded", [False, True])
def test_decoding_equals_the_whole_text(attention: Attention, padded: bool) -> None:
    q, k, v = qkv(40)
    keep = keep_some(40)
    with torch.no_grad():
        whole = attention(q, k, v, Causal() & Padding(keep) if padded else Causal())
        state, parts = None, []
        for start, end in ((0, 34), (34, 36), *((i, i + 1) for i in range(36, 40))):
            mask = Causal() & Padding(keep[:, :end]) if padded else Causal()
            new = slice(start, end)
            part, state = attention.decode(
                q[:, :, new], k[:, :, new], v[:, :, new], mask, None, state
            )
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n", "m"), [(5, 40), (40, 5), (1, 33)])
@pytest.mark.parametrize("padded", [False, True])
def test_queries_of_another_text(attention: Attention, n: int, m: int, padded: bool) -> None:
    inputs = qkv(n, m, torch.float64)
    attention = attention.double()
    for mask in (Bidirectional(), Causal()):
        mask = mask & Padding(keep_some(m)) if padded else mask
        expected = by_definition(attention, *inputs, mask)
        torch.testing.assert_close(attention(*inputs, mask), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("n", "m"), [(5, 40), (40, 5)])
@pytest.mark.parametrize(("option", "changes"), VARIANTS, ids=str)
def test_other_forms_equal_their_definition(
    option: str, changes: dict[str, Any], n: int, m: int
) -> None:
    attention = build(option, **changes).eval().double()
    inputs = qkv(n, m, torch.float64)
    for mask in (Bidirectional(), Causal(), Causal() & Padding(keep_some(m))):
        out, expected = attention(*inputs, mask), by_definition(attention, *inputs, mask)
        torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-11)
        grads, wanted = (torch.autograd.grad(x.square().sum(), inputs) for x in (out, expected))
        torch.testing.assert_close(grads, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("option", "changes"), [*((x, {}) for x in OPTIONS), *VARIANTS], ids=str)
def test_empty_sizes(option: str, changes: dict[str, Any]) -> None:
    """No text, no query, no key: the last batch of a process, say."""
    for b, n, m in ((0, 7, 7), (0, 40, 40), (0, 7, 9), (2, 0, 7), (2, 7, 0), (2, 0, 0)):
        padding = Padding(torch.ones(b, m, dtype=torch.bool))
        for mask in (Causal(), Bidirectional(), Causal() & padding, Bidirectional() & padding):
            inputs = [draw(b, 3, size, e) for size, e in ((n, 8), (m, 8), (m, 5))]
            out = build(option, **changes)(*inputs, mask)
            assert out.shape == (b, 3, n, 5)
            assert (out == 0).all()
            out.sum().backward()
            assert all(x.grad is None or (x.grad == 0).all() for x in inputs)


@pytest.mark.parametrize("mask", PATTERNS, ids=lambda mask: type(mask).__name__)
def test_other_masks_work_or_are_refused_as_declared(attention: Attention, mask: Mask) -> None:
    inputs = qkv(20, dtype=torch.float64)
    if "key_subsets" in attention.refuses and not mask.is_only(ExcludeSelf):
        with pytest.raises(ValueError, match=r"cannot use this mask: .*; use mask=causal"):
            attention(*inputs, mask)
    else:
        attention = attention.double()
        for seen in (mask, mask & Padding(keep_some(20))):
            expected = by_definition(attention, *inputs, seen)
            torch.testing.assert_close(attention(*inputs, seen), expected)


def test_bias_works_or_is_refused_as_declared(attention: Attention) -> None:
    inputs = qkv(20)
    bias = torch.zeros(3, 20, 20)
    if "score_bias" in attention.refuses:
        with pytest.raises(ValueError, match=r"takes no bias: .*; use position=rope"):
            attention(*inputs, Causal(), bias)
    else:
        expected = attention(*inputs, Causal())
        torch.testing.assert_close(attention(*inputs, Causal(), bias), expected)


@pytest.mark.parametrize("option", OPTIONS)
def test_state_dict_round_trip(option: str) -> None:
    a, b = build(option).eval(), build(option).eval()
    file = io.BytesIO()
    torch.save(a.state_dict(), file)
    file.seek(0)
    b.load_state_dict(torch.load(file, weights_only=True))
    inputs = qkv(ODD)
    assert torch.equal(a(*inputs, Causal()), b(*inputs, Causal()))


def test_copies_compute_the_same(attention: Attention) -> None:
    inputs = qkv(ODD)
    twin = copy.deepcopy(attention)
    assert torch.equal(attention(*inputs, Causal()), twin(*inputs, Causal()))


@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_without_gradients_it_computes_the_same(attention: Attention, mask: Mask) -> None:
    inputs = qkv(ODD)
    expected = attention(*inputs, mask)
    with torch.no_grad():
        assert torch.equal(attention(*inputs, mask), expected)
    with torch.inference_mode():
        assert torch.equal(attention(*inputs, mask), expected)
    attention(*inputs, mask).sum().backward()  # nothing made above hinders training


def compiled_equals(option: str) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    attention = build(option).eval()
    compiled = torch.compile(attention, backend="aot_eager", fullgraph=True)
    inputs = qkv(40)
    for mask in (Causal(), Bidirectional(), Causal() & Padding(keep_some(40))):
        out, expected = compiled(*inputs, mask), attention(*inputs, mask)
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
        grads, wanted = (torch.autograd.grad(x.square().sum(), inputs) for x in (out, expected))
        torch.testing.assert_close(grads, wanted, rtol=1e-4, atol=1e-4)
    attention.train()
    compiled = torch.compile(attention, backend="aot_eager")
    outs = []
    for module in (compiled, attention):
        torch.manual_seed(1)  # of noise
        outs.append(module(*inputs, Causal()))
    torch.testing.assert_close(*outs)


@pytest.fixture(scope="module")
def unchecked() -> Iterator[Callable[..., None]]:
    """The compiler cannot read functions that check their types."""
    with one_apart() as call:
        yield call


@pytest.mark.slow
@pytest.mark.xdist_group("compiler")  # one worker imports it
@pytest.mark.parametrize("option", OPTIONS)
def test_compiled_it_computes_the_same(option: str, unchecked: Callable[..., None]) -> None:
    unchecked(compiled_equals, option)


def test_heads_in_the_shells_memory_order(attention: Attention) -> None:
    inputs = [x.detach().transpose(1, 2).contiguous().transpose(1, 2) for x in qkv(ODD)]
    out = attention(*inputs, Causal())
    torch.testing.assert_close(out, attention(*(x.contiguous() for x in inputs), Causal()))
    assert out.transpose(1, 2).flatten(2).shape == (2, ODD, 15)
