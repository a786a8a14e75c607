"""Masks against loops over positions, alone, combined and aligned at the end."""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from suexp.mask import Bidirectional, Causal, ExcludeSelf, Padding, Prefix, Window
from suexp.mask.base import Intersection, Mask

Rule = Callable[[int, int, int], bool]  # (text, query position, key position) -> visible

SIZES = st.integers(1, 7)


def table(mask: Mask, n: int, m: int, batch: int = 1) -> Tensor:
    dense = mask.dense(n, m)
    if dense is None:
        return torch.ones(batch, n, m, dtype=torch.bool)
    return dense.expand(batch, 1, n, m)[:, 0]


def looped(rules: list[Rule], n: int, m: int, batch: int = 1) -> Tensor:
    result = torch.empty(batch, n, m, dtype=torch.bool)
    for b in range(batch):
        for i in range(n):
            for j in range(m):
                result[b, i, j] = all(rule(b, i + m - n, j) for rule in rules)
    return result


@st.composite
def masks(draw: st.DrawFn, m: int) -> tuple[Mask, Rule]:
    kind = draw(st.sampled_from(["bidirectional", "causal", "prefix", "window", "self", "padding"]))
    if kind == "bidirectional":
        return Bidirectional(), lambda b, i, j: True
    if kind == "causal":
        return Causal(), lambda b, i, j: j <= i
    if kind == "prefix":
        p = draw(st.integers(0, 8))
        return Prefix(p), lambda b, i, j: j <= i or j < p
    if kind == "window":
        w, causal = draw(st.integers(1, 8)), draw(st.booleans())
        if causal:
            return Window(w, causal=True), lambda b, i, j: 0 <= i - j < w
        return Window(w, causal=False), lambda b, i, j: abs(i - j) < w
    if kind == "self":
        return ExcludeSelf(), lambda b, i, j: i != j
    keep = torch.tensor(draw(st.lists(st.booleans(), min_size=2 * m, max_size=2 * m))).view(2, m)
    return Padding(keep), lambda b, i, j: bool(keep[b, j])


@st.composite
def combinations(draw: st.DrawFn) -> tuple[list[tuple[Mask, Rule]], int, int]:
    n, m = draw(SIZES), draw(SIZES)
    return draw(st.lists(masks(m), min_size=1, max_size=4)), n, m


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(combinations())
def test_combination_equals_the_loop(example: tuple[list[tuple[Mask, Rule]], int, int]) -> None:
    parts, n, m = example
    combined = parts[0][0]
    for mask, _ in parts[1:]:
        combined = combined & mask
    expected = looped([rule for _, rule in parts], n, m, batch=2)
    assert torch.equal(table(combined, n, m, batch=2), expected)


@settings(deadline=None, max_examples=50)
@given(st.data(), SIZES)
def test_and_is_associative_commutative_and_idempotent(data: st.DataObject, m: int) -> None:
    a, b, c = (data.draw(masks(m))[0] for _ in range(3))
    for x, y in (((a & b) & c, a & (b & c)), (a & b, b & a), (a & a, a), (a & Bidirectional(), a)):
        assert torch.equal(table(x, m, m, 2), table(y, m, m, 2))


@settings(deadline=None, max_examples=50)
@given(st.data(), SIZES)
def test_decoding_sees_the_last_rows(data: st.DataObject, m: int) -> None:
    mask, _ = data.draw(masks(m))
    n = data.draw(st.integers(1, m))
    assert torch.equal(table(mask, n, m, 2), table(mask, m, m, 2)[:, m - n :])


def test_combinations_are_flat_and_can_be_searched() -> None:
    causal, window, prefix = Causal(), Window(3), Prefix(2)
    mask = (causal & window) & (prefix & Bidirectional())
    assert isinstance(mask, Intersection)
    assert mask.parts[:3] == (causal, window, prefix)
    assert mask.find(Window) is window
    assert mask.find(Padding) is None
    assert mask.is_only(Causal, Window, Prefix, Bidirectional)
    assert not mask.is_only(Causal, Window)


def test_table_is_made_once() -> None:
    causal = Causal()
    first = causal.dense(4, 4)
    assert causal.dense(4, 4) is first
    assert causal.dense(3, 4) is not first

    calls = []

    class Counting(Causal):
        def allowed(self, query: Tensor, key: Tensor) -> Tensor:
            calls.append(1)
            return super().allowed(query, key)

    rule = Counting()
    for _ in range(3):  # one text after another: only the padding is new
        (rule & Padding(torch.ones(2, 4, dtype=torch.bool))).dense(4, 4)
    assert len(calls) == 1


def test_table_made_in_inference_mode_serves_training() -> None:
    mask = Causal() & Window(2)
    with torch.inference_mode():
        mask.dense(3, 3)
    x = torch.ones(3, 3, requires_grad=True)
    dense = mask.dense(3, 3)
    assert dense is not None
    (x * dense).sum().backward()  # would raise for an inference tensor
    assert x.grad is not None
    assert torch.equal(x.grad, dense.float())


def test_bidirectional_has_no_table() -> None:
    assert Bidirectional().dense(3, 4) is None
    assert (Bidirectional() & Bidirectional()).dense(3, 4) is None


def test_more_queries_than_keys_stand_before_all_keys() -> None:
    dense = Causal().dense(4, 2)
    assert dense is not None
    assert dense.tolist() == [[False, False], [False, False], [True, False], [True, True]]


@pytest.mark.parametrize(
    ("mask", "provides"),
    [
        (Bidirectional, {"later_keys"}),
        (Causal, {"autoregressive"}),
        (
            Prefix,
            {"autoregressive", "pattern", "key_subsets", "later_keys", "fixed_prefix if length"},
        ),
        (
            Window,
            {"autoregressive if causal", "pattern", "key_subsets", "later_keys if causal=False"},
        ),
        (ExcludeSelf, {"pattern", "later_keys"}),
    ],
)
def test_declared_features(mask: type[Mask], provides: set[str]) -> None:
    assert mask.provides == provides
