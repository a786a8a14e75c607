import pytest
import torch
from torch import Tensor

from suexp.attention import Softmax, TalkingHeads
from suexp.attention.softmax import naive
from suexp.mask import Bidirectional, Causal, Padding
from suexp.nn.param_groups import param_groups

H, N, D = 4, 24, 3


def draw() -> list[Tensor]:
    return [torch.randn(2, H, N, D, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def silent(**arguments: object) -> TalkingHeads:
    """Heads that do not talk: both mixings are the identity."""
    attention = TalkingHeads(H, **arguments).double()  # type: ignore[arg-type]
    for parameter in attention.parameters():
        parameter.data = torch.eye(H, dtype=torch.float64)
    return attention


@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_without_mixing_it_is_plain_attention(mask: Causal | Bidirectional) -> None:
    inputs = draw()
    expected = Softmax()(*inputs, mask)
    g = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, inputs, g)
    for attention in (silent(), TalkingHeads(H, pre=False, post=False)):
        out = attention(*inputs, mask)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(torch.autograd.grad(out, inputs, g), wanted)


def test_mixed_scores_are_those_of_one_large_head() -> None:
    """Head i's query is all queries times its row of Lambda, its key all keys."""
    q, k, v = draw()
    attention = TalkingHeads(H, post=False, talking_init="random").double()
    out = attention(q, k, v, Causal())
    assert attention.mix_scores is not None
    table = Causal().dense(N, N)
    keys = k.transpose(1, 2).flatten(2)
    for i in range(H):
        queries = (attention.mix_scores[i][:, None, None] * q).transpose(1, 2).flatten(2)
        expected = naive(queries[:, None], keys[:, None], v[:, i : i + 1], table, scale=D**-0.5)
        torch.testing.assert_close(out[:, i : i + 1], expected)
        rank = torch.linalg.matrix_rank(queries[0] @ keys[0].T)
        assert rank == min(N, H * D)
        assert torch.linalg.matrix_rank(q[0, i] @ k[0, i].T) == D


def test_mixed_weights_by_the_equation() -> None:
    q, k, v = draw()
    attention = TalkingHeads(H, pre=False, talking_init="random").double()
    weights = (q @ k.mT * D**-0.5).softmax(-1)
    expected = torch.einsum("ij,bjnm,bime->bine", attention.mix_weights, weights, v)
    torch.testing.assert_close(attention(q, k, v, Bidirectional()), expected)


def test_the_bias_is_not_mixed() -> None:
    inputs, bias = draw(), torch.randn(H, N, N, dtype=torch.float64)
    attention = silent()
    expected = Softmax()(*inputs, Causal(), bias)
    torch.testing.assert_close(attention(*inputs, Causal(), bias), expected)
    with torch.no_grad():  # all scores vanish: what is left is each head's own bias
        assert attention.mix_scores is not None
        attention.mix_scores.zero_()
    weights = bias.masked_fill(~Causal().dense(N, N), -torch.inf).softmax(-1)
    torch.testing.assert_close(attention(*inputs, Causal(), bias), weights @ inputs[2])


def test_hidden_keys_leave_no_trace() -> None:
    q, k, v = draw()
    attention = TalkingHeads(H, talking_init="random").double()
    keep = torch.ones(2, N, dtype=torch.bool)
    keep[:, 5:9] = False
    out = attention(q, k, v, Padding(keep))
    with torch.no_grad():
        k[:, :, 5:9], v[:, :, 5:9] = 1e6, 1e6
    assert torch.equal(attention(q, k, v, Padding(keep)), out)


def test_starts_near_plain_attention_and_does_not_decay() -> None:
    attention = TalkingHeads(64)
    noise = attention.mix_scores - torch.eye(64)  # type: ignore[operator]
    assert noise.std().item() == pytest.approx(0.02, rel=0.1)
    decays = [group.get("weight_decay") for group in param_groups(attention)]
    assert decays == [0.0]


def test_dropout_drops_weights_in_training_only() -> None:
    inputs = draw()
    attention = silent(dropout=0.5)
    expected = Softmax()(*inputs, Bidirectional())
    assert not torch.allclose(attention(*inputs, Bidirectional()), expected)
    torch.testing.assert_close(attention.eval()(*inputs, Bidirectional()), expected)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"num_heads": 0}, "num_heads must be at least 1, not 0"),
        ({"talking_init": "zero"}, "identity, random, not 'zero'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1, not 1.0"),
    ],
)
def test_refusals(arguments: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        TalkingHeads(**({"num_heads": 2} | arguments))  # type: ignore[arg-type]
