import pytest
import torch
from torch import Tensor

from suexp.attention import Softmax
from suexp.attention.softmax import naive
from suexp.mask import Bidirectional, Causal
from suexp.nn.multi_head import MultiHeadAttention


def build(**changes) -> MultiHeadAttention:
    torch.manual_seed(0)
    arguments = {"dim": 8, "num_heads": 2, "head_dim": 4, "attention": Softmax(), "bias": True}
    return MultiHeadAttention(**(arguments | changes))


def by_hand(layer: MultiHeadAttention, x: Tensor, context: Tensor, causal: bool) -> Tensor:
    """Loop over heads and queries."""
    h, d = layer.num_heads, layer.output.in_features // layer.num_heads
    w, b = layer.qkv.weight.reshape(3, h, d, -1), layer.qkv.bias.reshape(3, h, d)
    rows = []
    for text, other in zip(x, context, strict=True):
        for i in range(len(text)):
            heads = []
            for head in range(h):
                q = w[0, head] @ text[i] + b[0, head]
                seen = other[: i + 1] if causal else other
                k = seen @ w[1, head].T + b[1, head]
                v = seen @ w[2, head].T + b[2, head]
                heads.append((k @ q / d**0.5).softmax(0) @ v)
            rows.append(layer.output.weight @ torch.cat(heads) + layer.output.bias)
    return torch.stack(rows).reshape(*x.shape)


@pytest.mark.parametrize("head_dim", [4, 6])
def test_self_attention_by_hand(head_dim: int) -> None:
    layer, x = build(head_dim=head_dim), torch.randn(2, 5, 8)
    torch.testing.assert_close(layer(x, Causal()), by_hand(layer, x, x, causal=True))


@pytest.mark.parametrize("bias", [True, False])
def test_cross_attention_uses_the_same_projections(bias: bool) -> None:
    layer, x, context = build(bias=bias), torch.randn(2, 3, 8), torch.randn(2, 7, 8)
    if bias:
        expected = by_hand(layer, x, context, causal=False)
        torch.testing.assert_close(layer(x, Bidirectional(), context=context), expected)
    same = layer(x, Bidirectional(), context=x)
    torch.testing.assert_close(same, layer(x, Bidirectional()))


def test_rotation_reaches_queries_and_keys() -> None:
    layer, x = build(), torch.randn(1, 3, 8)
    seen = []

    def rotate(heads: Tensor, is_key: bool = False) -> Tensor:
        seen.append((tuple(heads.shape), is_key))
        return 2 * heads

    layer(x, Causal(), rotate)
    layer.decode(x, Causal(), rotate)
    assert seen == [((1, 2, 3, 4), False), ((1, 2, 3, 4), True)] * 2
    layer(x, Bidirectional(), rotate, context=torch.randn(1, 5, 8))
    assert seen[4:] == [((1, 2, 3, 4), False), ((1, 2, 5, 4), True)]


def test_bias_is_added_to_the_scores() -> None:
    layer, x = build(), torch.randn(1, 3, 8)
    bias = torch.full((2, 3, 3), -torch.inf)
    bias[:, :, 0] = 0
    only_first = layer(x, Bidirectional(), bias=bias)
    torch.testing.assert_close(only_first, layer(x[:, :1], Bidirectional()).expand(1, 3, 8))


def test_decoding_in_pieces_equals_the_whole() -> None:
    layer, x = build(), torch.randn(2, 6, 8)
    mask, state, pieces = Causal(), None, []
    for piece in x.split([3, 1, 2], dim=1):
        y, state = layer.decode(piece, mask, state=state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), layer(x, mask))


def test_dropout_acts_on_the_output() -> None:
    layer, x = build(dropout=0.5), torch.randn(4, 10, 8)
    assert 0.3 < (layer(x, Causal()) == 0).float().mean() < 0.7


def test_refuses_empty_sizes() -> None:
    with pytest.raises(ValueError, match="num_heads must be at least 1, not 0"):
        build(num_heads=0)


def test_keys_may_be_larger_than_values() -> None:
    layer, x = build(key_dim=6), torch.randn(2, 5, 8)
    q, k, v = layer.qkv(x).split([12, 12, 8], -1)
    heads = [y.unflatten(-1, (2, -1)).transpose(1, 2) for y in (q, k, v)]
    expected = naive(*heads, Causal().dense(5, 5), scale=6**-0.5).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x, Causal()), layer.output(expected))
    torch.testing.assert_close(layer(x, Bidirectional(), context=x), layer(x, Bidirectional()))
    count = sum(parameter.numel() for parameter in layer.parameters())
    d, h, key, head = 8, 2, 6, 4
    assert count == 2 * d * h * key + 2 * d * h * head + 2 * h * key + h * head + d


def test_keys_of_the_size_of_values_are_the_usual_case() -> None:
    torch.manual_seed(0)
    usual = build()
    torch.manual_seed(0)
    named = build(key_dim=4)
    x = torch.randn(2, 5, 8)
    assert torch.equal(usual(x, Causal()), named(x, Causal()))


def test_equals_torchs_own_layer() -> None:
    layer, x = build(), torch.randn(2, 5, 8)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = (
        layer.qkv.weight.data,
        layer.qkv.bias.data,
    )
    theirs.out_proj.load_state_dict(layer.output.state_dict())
    table = ~Causal().dense(5, 5)
    expected = theirs(x, x, x, attn_mask=table, need_weights=False)[0]
    torch.testing.assert_close(layer(x, Causal()), expected, atol=1e-6, rtol=1e-5)
