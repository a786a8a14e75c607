from typing import Any

import pytest
import torch
from torch import Tensor

from suexp.attention import Realformer, Softmax
from suexp.attention.base import Carried
from suexp.attention.softmax import naive
from suexp.init import Default
from suexp.mask import Bidirectional, Causal, Padding
from suexp.model import EncoderDecoder, Transformer
from suexp.norm import Layer
from suexp.position import Alibi, Rope

B, H, N, D = 2, 3, 11, 4


def draw(layers: int) -> list[list[Tensor]]:
    return [[torch.randn(B, H, N, D, dtype=torch.float64) for _ in range(3)] for _ in range(layers)]


def chain(inputs: list[list[Tensor]], mask: Any, bias: Any = None, **options: Any) -> list[Tensor]:
    """Attend layer by layer."""
    carried = Carried()
    layers = [Realformer(**options).double() for _ in inputs]
    return [layer(*x, mask, bias, carried=carried) for layer, x in zip(layers, inputs, strict=True)]


@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_a_layer_attends_as_one_head_with_all_queries_and_keys(
    mask: Causal | Bidirectional,
) -> None:
    inputs = draw(3)
    for n, out in enumerate(chain(inputs, mask), start=1):
        q, k = (torch.cat([layer[i] for layer in inputs[:n]], -1) for i in (0, 1))
        expected = naive(q, k, inputs[n - 1][2], mask.dense(N, N), scale=D**-0.5)
        torch.testing.assert_close(out, expected)
    rank = torch.linalg.matrix_rank
    assert rank(inputs[0][0][0, 0] @ inputs[0][1][0, 0].T) == D
    assert rank((q @ k.mT)[0, 0]) == min(N, 3 * D)


def test_the_first_layer_is_plain_attention() -> None:
    (inputs,) = draw(1)
    for residual in ("sum", "mean", "scaled", "last"):
        (out,) = chain([inputs], Causal(), residual=residual)
        torch.testing.assert_close(out, Softmax()(*inputs, Causal()))


def test_layers_without_scores_of_their_own_share_the_first_ones_weights() -> None:
    inputs = draw(3)
    for layer in inputs[1:]:
        layer[0].zero_()
    weights = Softmax().weights(inputs[0][0], inputs[0][1], Causal())
    for layer, out in zip(inputs, chain(inputs, Causal()), strict=True):
        torch.testing.assert_close(out, weights @ layer[2])


def test_what_is_added() -> None:
    inputs = draw(3)
    own = [q @ k.mT * D**-0.5 for q, k, _ in inputs]

    def third(**options: Any) -> Tensor:
        return chain(inputs, Bidirectional(), **options)[-1]

    def expected(scores: Tensor) -> Tensor:
        return scores.softmax(-1) @ inputs[-1][2]

    torch.testing.assert_close(third(residual="last"), expected(own[1] + own[2]))
    torch.testing.assert_close(third(residual="mean"), expected(sum(own) / 3))
    half = own[2] + 0.5 * (own[1] + 0.5 * own[0])
    torch.testing.assert_close(third(residual="scaled", initial=0.5), expected(half))
    two = chain(inputs[:2], Causal()), chain(inputs[:2], Causal(), residual="last")
    torch.testing.assert_close(two[0], two[1])


def test_with_a_gain_of_zero_it_is_the_model_without() -> None:
    inputs = draw(3)
    for out, layer in zip(
        chain(inputs, Causal(), residual="scaled", initial=0.0), inputs, strict=True
    ):
        assert torch.equal(out, chain([layer], Causal())[0])


def test_the_positions_bias_is_added_once_or_carried() -> None:
    inputs = draw(3)
    bias = Alibi(H).bias(torch.arange(N), torch.arange(N))
    summed = sum(q @ k.mT * D**-0.5 for q, k, _ in inputs)
    for carry, times in ((False, 1), (True, 3)):
        out = chain(inputs, Bidirectional(), bias, carry_bias=carry)[-1]
        expected = (summed + times * bias).softmax(-1) @ inputs[-1][2]
        torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_reach_earlier_layers_unless_detached(detach: bool) -> None:
    inputs = draw(2)
    inputs[0][0].requires_grad_()
    inputs[1][0].requires_grad_()
    out = chain(inputs, Causal(), detach_previous=detach)[-1].sum()
    first, second = torch.autograd.grad(out, [inputs[0][0], inputs[1][0]], allow_unused=True)
    assert (first is None) == detach
    assert second.abs().max() > 0


def test_scores_carry_no_mask_and_stay_in_float32_under_autocast() -> None:
    q, k, v = (torch.randn(B, H, N, D) for _ in range(3))
    keep = torch.arange(N) < torch.tensor([[N], [4]])
    carried = Carried()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = Realformer()(q, k, v, Causal() & Padding(keep), carried=carried)
    assert carried.scores is not None
    assert carried.scores.dtype == torch.float32
    assert out.dtype == torch.float32
    torch.testing.assert_close(carried.scores, q @ k.mT * D**-0.5)


def model(kind: type = Transformer, **options: Any) -> Any:
    torch.manual_seed(0)
    parts = (Realformer(**options), Rope(8), Layer(16), Causal(), Default())
    return kind(7, *parts, dim=16, num_layers=3, num_heads=2, norm_order="post").double().eval()


@pytest.mark.parametrize("options", [{}, {"residual": "mean"}, {"residual": "last"}], ids=str)
def test_decoding_token_by_token_equals_the_whole_text(options: dict[str, Any]) -> None:
    net, text = model(**options), torch.randint(7, (2, 9))
    whole, state, parts = net(text), None, []
    for piece in text.split([4, 1, 1, 3], 1):
        logits, state = net.decode(piece, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole)


def test_a_later_token_changes_nothing_before_it() -> None:
    net, text = model(), torch.randint(6, (1, 9))
    other = text.clone()
    other[0, 5] += 1
    torch.testing.assert_close(net(text)[:, :5], net(other)[:, :5])
    assert not torch.allclose(net(text)[:, 5:], net(other)[:, 5:])


def test_cross_attention_has_a_stream_of_its_own() -> None:
    net, text = model(EncoderDecoder), torch.randint(7, (2, 9))
    length = torch.tensor([4, 4])
    seen: list[Carried] = []

    def look(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs["carried"])

    for block in net.blocks:
        block.cross.attention.register_forward_pre_hook(look, with_kwargs=True)
        block.block.attention.attention.register_forward_pre_hook(look, with_kwargs=True)
    net(text, prefix_length=length)
    own, cross = seen[0], seen[1]
    assert cross is own.cross
    assert seen == [own, cross] * 3
    assert own.layers == cross.layers == 3
    assert own.scores is not None
    assert cross.scores is not None
    assert own.scores.shape[-2:] == (6, 6)
    assert cross.scores.shape[-2:] == (6, 4)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="residual must be one of sum, mean, scaled, last, not 'a"):
        Realformer(residual="all")
