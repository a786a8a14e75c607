import pytest
import torch

from suexp.attention import EntropyInvariant, Softmax
from suexp.attention._local import blocks_of, count_local_keys, local_attention
from suexp.attention.softmax import naive
from suexp.mask import Bidirectional, Blockwise, Causal, ExcludeSelf, Padding, Window
from suexp.mask.base import Mask

LENGTH = 290  # several blocks, and no multiple of any
KEEP = torch.arange(LENGTH) < torch.tensor([[LENGTH], [150]])
LEFT = torch.arange(LENGTH) >= torch.tensor([[0], [190]])  # whole blocks are blind
MASKS = [
    Window(1),
    Window(2),
    Window(17),
    Window(17, causal=False),
    Window(40, causal=False),
    Window(17, causal=False) & Causal(),
    Blockwise(2),
    Blockwise(20),
    Window(9) & Padding(KEEP),
    Window(9, causal=False) & Padding(LEFT),
    Blockwise(16) & Padding(LEFT) & Causal(),
]


def draw(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    shapes = ((2, 3, LENGTH, 4), (2, 3, LENGTH, 4), (2, 3, LENGTH, 5))
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("mask", MASKS, ids=lambda m: "-".join(type(p).__name__ for p in m.parts))
def test_equals_the_definition_with_its_gradients(mask: Mask) -> None:
    inputs = draw()
    blocks = blocks_of(mask)
    assert blocks is not None
    out = local_attention(*inputs, mask, blocks, 0.0, 0.4)
    expected = naive(*inputs, mask.dense(LENGTH, LENGTH), scale=0.4)
    torch.testing.assert_close(out, expected)
    g = torch.randn_like(out)
    wanted = torch.autograd.grad(expected, inputs, g)
    torch.testing.assert_close(torch.autograd.grad(out, inputs, g), wanted)


@pytest.mark.parametrize("attention", [Softmax(), EntropyInvariant()], ids=["softmax", "entropy"])
def test_it_is_what_softmax_does_under_a_window(attention: Softmax) -> None:
    q, k, v = draw(torch.float32)
    mask = Window(9)
    with torch.profiler.profile(record_shapes=True) as profile:
        out = attention(q, k, v, mask)
    shapes = [s for event in profile.events() for s in event.input_shapes if len(s) >= 2]
    assert not any(s[-1] == s[-2] == LENGTH for s in shapes)  # no scores of all pairs
    whole = attention(q, k, v, mask, torch.zeros(3, LENGTH, LENGTH))  # a bias takes the other way
    torch.testing.assert_close(out, whole)


@pytest.mark.parametrize("mask", MASKS, ids=lambda m: "-".join(type(p).__name__ for p in m.parts))
def test_counts_keys_without_the_table(mask: Mask) -> None:
    blocks, table = blocks_of(mask), mask.dense(LENGTH, LENGTH)
    assert blocks is not None
    assert table is not None
    counts = count_local_keys(mask, blocks, LENGTH, torch.device("cpu"))
    assert torch.equal(counts, table.sum(-1))


def test_a_window_larger_than_the_text_changes_nothing() -> None:
    inputs = draw(torch.float32)
    for mask in (Window(LENGTH), Window(10 * LENGTH), Blockwise(2 * LENGTH)):
        torch.testing.assert_close(Softmax()(*inputs, mask), Softmax()(*inputs, Causal()))


def test_dropout_and_half_precision() -> None:
    q, k, v = (x.detach() for x in draw(torch.bfloat16))
    out = Softmax()(q, k, v, Window(9))
    assert out.dtype == torch.bfloat16
    exact = Softmax()(q.double(), k.double(), v.double(), Window(9))
    torch.testing.assert_close(out.double(), exact, atol=2e-2, rtol=2e-2)
    dropped = Softmax(dropout=0.5).train()(q.float(), k.float(), v.float(), Window(9))
    assert (dropped - exact.float()).abs().max() > 0.1


def test_other_masks_are_not_local() -> None:
    for mask in (Causal(), Bidirectional(), Window(3) & ExcludeSelf(), Window(3) & Blockwise(4)):
        assert blocks_of(mask) is None
