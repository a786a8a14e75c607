"""What every option of the group must do, built from its YAML."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from suexp.attention.base import Attention
from suexp.contract.attention import ODD, PATTERNS, Drawn, keep_some, takes_empty_sizes
from suexp.contract.check import Check, checks
from suexp.contract.subject import Subject
from suexp.mask import Bidirectional, Causal, ExcludeSelf, Padding
from suexp.mask.base import Mask
from tests.attention.reference import by_definition
from tests.support.options import content, options
from tests.support.processes import one_apart

SIZES = {"${model.key_dim}": 8, "${model.dim}": 24, "${model.num_heads}": 3, "${seed}": 0}
OPTIONS = options("attention")
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


def node(option: str) -> dict[str, Any]:
    return {
        key: SIZES.get(str(value), value) for key, value in content("attention", option).items()
    }


def subject(option: str, **changes: Any) -> Subject:
    return Subject(f"attention={option}", "attention", node(option) | changes)


def build(option: str, **changes: Any) -> Attention:
    attention: Attention = subject(option, **changes).build()
    return attention


qkv = Drawn(subject("softmax")).qkv


@pytest.mark.parametrize("check", checks("attention"), ids=str)
@pytest.mark.parametrize("option", OPTIONS)
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(subject(option))


@pytest.mark.parametrize(("option", "changes"), VARIANTS, ids=str)
def test_other_forms_take_empty_sizes(option: str, changes: dict[str, Any]) -> None:
    takes_empty_sizes(subject(option, **changes))


@pytest.mark.parametrize("option", OPTIONS)
def test_what_the_mask_allows_arrives(option: str) -> None:
    """Of no option here do some keys count for nothing."""
    inputs = qkv(40)
    out = build(option).eval()(*inputs, Causal())
    for x in inputs[1:]:
        (grad,) = torch.autograd.grad(out[:, :, -1].square().sum(), x, retain_graph=True)
        assert (grad.abs().sum(-1) > 0).all()


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
