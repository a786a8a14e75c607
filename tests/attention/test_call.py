"""Components alone, in anyone's module: no mask, the flag of torch, shapes that do not fit."""

import doctest

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.attention import Linear, Performer, Realformer, Softmax
from suexp.attention.base import Attention
from suexp.mask import Bidirectional, Causal, Padding, Table

KINDS = [Softmax(), Softmax(kernel="materialised"), Linear(), Performer(head_dim=4).eval()]


def qkv(n: int = 5, m: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(2, 3, n, 4), torch.randn(2, 3, m, 4), torch.randn(2, 3, m, 6)


@pytest.mark.parametrize("attention", KINDS, ids=lambda item: type(item).__name__)
def test_no_mask_is_bidirectional_and_the_flag_is_causal(attention: Attention) -> None:
    given = qkv()
    keep = torch.tensor([[True] * 5, [True, True, True, False, False]])
    assert torch.equal(attention(*given), attention(*given, Bidirectional()))
    assert torch.equal(attention(*given, is_causal=True), attention(*given, Causal()))
    both = attention(*given, Padding(keep), is_causal=True)
    assert torch.equal(both, attention(*given, Padding(keep) & Causal()))


@pytest.mark.parametrize("is_causal", [False, True])
def test_softmax_is_torchs(is_causal: bool) -> None:
    given = qkv()
    expected = F.scaled_dot_product_attention(*given, is_causal=is_causal)
    torch.testing.assert_close(Softmax()(*given, is_causal=is_causal), expected)
    table = torch.rand(2, 1, 5, 5) < 0.7
    table[..., 0] = True
    expected = F.scaled_dot_product_attention(*given, attn_mask=table)
    torch.testing.assert_close(Softmax()(*given, Table(table)), expected)


def test_what_a_layer_hands_on_is_still_given() -> None:
    from suexp.attention.base import Carried

    carried = Carried()
    Realformer()(*qkv(), is_causal=True, carried=carried)
    assert carried.scores is not None


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            ((5, 4), (5, 4), (5, 4)),
            r"q: expected \(batch, heads, length, dim\), got \(5, 4\); q.unf",
        ),
        (((1, 2, 5, 4), (2, 5, 4), (2, 5, 4)), r"k: expected .*, got \(2, 5, 4\)"),
        (
            ((1, 2, 5, 4), (1, 2, 5, 3), (1, 2, 5, 4)),
            r"k: expected \(batch, heads, length, dim\) = \(1, 2, 5, 4\), as q has .* and "
            r"k \(1, 2, 5, 3\), got \(1, 2, 5, 3\)",
        ),
        (((1, 2, 5, 4), (1, 1, 5, 4), (1, 1, 5, 4)), r"k: expected .* = \(1, 2, 5, 4\)"),
        (((1, 2, 5, 4), (1, 2, 7, 4), (1, 2, 5, 9)), r"v: expected .* = \(1, 2, 7, 9\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    shapes: tuple[tuple[int, ...], ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        Linear()(*(torch.zeros(shape) for shape in shapes))
    assert "\n" not in str(raised.value)


def test_the_flag_alone_cannot_say_where_fewer_queries_stand() -> None:
    with pytest.raises(
        ValueError, match="is_causal needs as many keys as queries, not 7 and 5; mask="
    ):
        Softmax()(*qkv(5, 7), is_causal=True)


def test_a_table_fits_or_is_refused() -> None:
    table = Table(torch.ones(4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="table is of 4 and 5 queries and keys, the attention's 5"):
        Softmax()(*qkv(), table)
    with pytest.raises(ValueError, match="attention=linear cannot use this mask"):
        Linear()(*qkv(4, 5), table)
    with pytest.raises(ValueError, match="mask=table cannot decode from a cache"):
        table.check_decoding()
    rows = torch.rand(2, 1, 4, 5) < 0.5
    assert torch.equal(Table(rows).select(torch.tensor([1])).table, rows[1:])
    assert table.select(torch.tensor([1])) is table


@pytest.mark.parametrize("documented", [Attention.__call__, Table])
def test_the_examples_run(documented: object) -> None:
    (test,) = doctest.DocTestFinder(recurse=False).find(documented, "it", globs={})
    assert len(test.examples) >= 5
    assert doctest.DocTestRunner().run(test).failed == 0
