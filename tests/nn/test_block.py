import inspect

import pytest
import torch

from suexp.attention import Softmax
from suexp.mask import Causal
from suexp.nn.block import Block
from suexp.nn.feed_forward import FeedForward
from suexp.nn.multi_head import MultiHeadAttention
from suexp.norm import Layer


def build(norm_order: str) -> Block:
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2, 4, Softmax())
    block = Block(attention, FeedForward(8, 32), Layer(8), norm_order)
    for norm in (block.attention_norm, block.feed_forward_norm):
        torch.nn.init.normal_(norm.weight)
    return block


def test_pre_norm_equals_the_formula() -> None:
    block, x, mask = build("pre"), torch.randn(2, 5, 8), Causal()
    y = x + block.attention(block.attention_norm(x), mask)
    torch.testing.assert_close(block(x, mask), y + block.feed_forward(block.feed_forward_norm(y)))


def test_post_norm_equals_the_formula() -> None:
    block, x, mask = build("post"), torch.randn(2, 5, 8), Causal()
    y = block.attention_norm(x + block.attention(x, mask))
    torch.testing.assert_close(block(x, mask), block.feed_forward_norm(y + block.feed_forward(y)))


def test_the_norms_of_gpt2_ml_stand_around_the_feed_forward_layer() -> None:
    block, x, mask = build("gpt2_ml"), torch.randn(2, 5, 8), Causal()
    y = x + block.attention(x, mask)
    expected = block.feed_forward_norm(y + block.feed_forward(block.attention_norm(y)))
    torch.testing.assert_close(block(x, mask), expected)


@pytest.mark.parametrize("norm_order", ["pre", "post", "gpt2_ml"])
def test_decoding_in_pieces_equals_the_whole(norm_order: str) -> None:
    block, x, mask = build(norm_order), torch.randn(2, 5, 8), Causal()
    first, state = block.decode(x[:, :3], mask)
    second, _ = block.decode(x[:, 3:], mask, state=state)
    torch.testing.assert_close(torch.cat((first, second), 1), block(x, mask))


def test_norms_are_clones() -> None:
    norm = Layer(8)
    block = Block(MultiHeadAttention(8, 2, 4, Softmax()), FeedForward(8, 32), norm)
    assert len({id(m) for m in (norm, block.attention_norm, block.feed_forward_norm)}) == 3


def test_refuses_another_order() -> None:
    parts = (MultiHeadAttention(8, 2, 4, Softmax()), FeedForward(8, 32), Layer(8))
    with pytest.raises(ValueError, match="norm_order must be pre, post or gpt2_ml, not mid"):
        inspect.unwrap(Block.__init__)(Block.__new__(Block), *parts, "mid")
