"""What every attention says of its costs is what it costs, whatever its constructor is given."""

import importlib
import inspect
import itertools
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from suexp.attention.base import Attention, Carried
from suexp.costs import Formulas, Sizes, formulas, formulas_of
from suexp.mask import Bidirectional, Causal
from suexp.mask.base import Mask
from suexp.nn.flops import counted
from suexp.nn.saved import SavedBytes
from tests.attention.test_contract import OPTIONS, build, node

HEADS, DIM = 3, 8
# Queries, keys, size of values: in several chunks and in one, of one text and of two, of one token.
SHAPES = [(71, 71, 8), (20, 20, 5), (7, 30, 11), (30, 7, 5), (70, 90, 8), (1, 9, 5), (1, 1, 8)]
MASKS = [Bidirectional(), Causal()]
OTHERS: dict[Any, list[Any]] = {bool: [True, False], int: [4, 1], float: [0.25]}


def words(module: Any, value: str) -> Iterator[str]:
    """Every word of the lists of a module that hold this one."""
    for its in vars(module).values():
        listed = get_args(its) if get_origin(its) is Literal else its
        if isinstance(listed, tuple | dict) and value in listed:
            yield from listed


def fits(option: str, chosen: dict[str, Any]) -> bool:
    """Whether an attention takes these arguments."""
    try:
        build(option, **chosen)
    except ValueError:
        return False
    return True


def changes(option: str) -> Iterator[tuple[str, Any]]:
    """Every other value that an argument may have, as far as its type and its module tell."""
    kind = type(build(option))
    hints = inspect.get_annotations(kind.__init__, eval_str=True)
    for name, value in node(option).items():
        if name in ("_target_", "num_heads", "head_dim"):
            continue
        if isinstance(value, str):
            others = [*words(importlib.import_module(kind.__module__), value)]
        else:
            kinds = get_args(hints[name]) or (hints[name],)
            others = [other for kind in kinds for other in OTHERS.get(kind, ())]
            others = [other for other in others if other != value]
            others = [x for x in others if fits(option, {name: x})][:1] or others
        yield from ((name, other) for other in others if other != value)


def named(its: Formulas) -> set[str]:
    """The names that an attention's formulas read."""
    read: set[str] = set()
    mentioned = [*its.costs.values(), its.named("saved") or "", its.named("state") or ""]
    for formula in [*mentioned, *its.used(mentioned).values()]:
        read |= set(compile(formula, "", "eval").co_names)
    return read


def variants() -> Iterator[Any]:
    """Every change alone, and in pairs those that formulas speak of or that alone are refused."""
    for option in OPTIONS:
        alone = list(changes(option))
        spoken = named(formulas_of(build(option)))
        pairs = [
            pair
            for pair in itertools.combinations(alone, 2)
            if len(dict(pair)) == 2
            and (spoken >= dict(pair).keys() or not all(fits(option, {k: v}) for k, v in pair))
        ]
        for several in [(), *((change,) for change in alone), *pairs]:
            name = "-".join([option, *(f"{key}_{value}" for key, value in several)])
            if fits(option, dict(several)):
                yield pytest.param(option, dict(several), id=name)


EVERY = pytest.mark.parametrize(("option", "chosen"), list(variants()))


class Skips(TorchFunctionMode):
    """Whether a fused kernel is told of a causal mask, whose hidden half it then leaves out."""

    found = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and kwargs["is_causal"]:
            self.found = bool(torch._fused_sdp_choice(*args, **kwargs))
        return func(*args, **(kwargs or {}))


def inputs(n: int, m: int, e: int) -> list[Tensor]:
    sizes = ((n, DIM), (m, DIM), (m, e))
    return [torch.randn(1, HEADS, *size, requires_grad=True) for size in sizes]


def measured(attention: Attention, mask: Mask, n: int, m: int, e: int) -> tuple[float, float]:
    """Operations that are counted, and numbers that wait beside the inputs and the output."""
    given, more = inputs(n, m, e), {}
    if attention.carries:  # a layer that is not the first
        more["carried"] = Carried()
        attention(*given, mask, **more)
    known = [*given, *attention.parameters(), *attention.buffers()]
    with Skips() as skips, SavedBytes(known) as meter:
        out = attention(*given, mask, **more)
    own = meter.of(out)
    with counted() as counter:
        attention(*given, mask)
    hidden = 2 * HEADS * (DIM + e) * n * (n - 1) // 2 if skips.found else 0
    return counter.get_total_flops() - hidden, (meter.live - own) / 4


@EVERY
def test_formulas_are_what_is_measured(option: str, chosen: dict[str, Any]) -> None:
    attention, unread = build(option, **chosen), formulas(node(option) | chosen)
    for (n, m, e), mask in itertools.product(SHAPES, MASKS):
        sizes = Sizes(n, m, HEADS, DIM, e, isinstance(mask, Causal))
        flops, numbers = measured(attention, mask, n, m, e)
        assert sum(unread.flops(sizes).values()) == flops, sizes
        if n == m or not sizes.causal:
            assert unread.saved_size(sizes) == pytest.approx(numbers, abs=1), sizes
        built = formulas_of(attention)
        assert built.flops(sizes) == unread.flops(sizes)
        assert built.saved_size(sizes) == unread.saved_size(sizes)


@EVERY
def test_state_is_what_decoding_keeps(option: str, chosen: dict[str, Any]) -> None:
    attention = build(option, **chosen).eval()
    with torch.no_grad():
        _, state = attention.decode(*inputs(20, 20, 5), Causal())
    kept = sum(tensor.numel() for tensor in state)
    assert formulas(node(option) | chosen).state_size(Sizes(20, 20, HEADS, DIM, 5, True)) == kept
