from typing import Any

import pytest
import torch
from torch import Tensor

from suexp.attention import Realformer, TalkingHeads
from suexp.attention.base import Carried
from suexp.mask import Bidirectional, Causal
from suexp.nn.multi_head import MultiHeadAttention
from suexp.position import Alibi

pytestmark = pytest.mark.peer

DIM, HEADS, SIZE = 16, 2, 8


@pytest.fixture(scope="module")
def peer() -> Any:
    return pytest.importorskip("x_transformers")


def with_weights_of(theirs: Any, ours: MultiHeadAttention) -> MultiHeadAttention:
    projections = [theirs.to_q.weight, theirs.to_k.weight, theirs.to_v.weight]
    ours.qkv.weight.data = torch.cat(projections).detach()
    ours.output.weight.data = theirs.to_out.weight.detach()
    return ours


@pytest.mark.parametrize("causal", [False, True])
def test_residual_scores_through_three_layers(peer: Any, causal: bool) -> None:
    torch.manual_seed(0)
    kind = peer.Decoder if causal else peer.Encoder
    options = {"residual_attn": True, "pre_norm": False, "custom_layers": ("a", "a", "a")}
    net = kind(dim=DIM, depth=3, heads=HEADS, attn_dim_head=SIZE, **options)
    x, carried = torch.randn(2, 9, DIM), Carried()
    y, attentions = x, [layer[1] for layer in net.layers]
    for theirs in attentions:
        theirs.to_q.weight.data.mul_(3)  # scores that matter
    wanted = net(x)
    for theirs in attentions:
        ours = with_weights_of(theirs, MultiHeadAttention(DIM, HEADS, SIZE, Realformer()))
        y = y + ours(y, Causal() if causal else Bidirectional(), carried=carried)
        y = torch.nn.functional.layer_norm(y, (DIM,))
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_talking_heads(peer: Any, causal: bool) -> None:
    torch.manual_seed(0)
    talk = {"pre_talking_heads": True, "post_talking_heads": True}
    theirs = peer.x_transformers.Attention(DIM, dim_head=4, heads=4, causal=causal, **talk)
    attention = TalkingHeads(4)
    for name, mixing, kept in (
        ("pre_softmax_talking_heads", attention.mix_scores, 1.0),  # theirs adds the scores again
        ("post_softmax_talking_heads", attention.mix_weights, 0.0),
    ):
        assert isinstance(mixing, Tensor)
        weight = getattr(theirs.attend, name).weight
        weight.data.normal_()
        mixing.data = weight.detach()[..., 0, 0] + kept * torch.eye(4)
    ours = with_weights_of(theirs, MultiHeadAttention(DIM, 4, 4, attention))
    x = torch.randn(2, 9, DIM)
    mask = Causal() if causal else Bidirectional()
    torch.testing.assert_close(ours(x, mask), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("heads", [4, 8, 12])
def test_slopes_of_alibi(peer: Any, heads: int) -> None:
    theirs = peer.x_transformers.AlibiPositionalBias(heads=heads, total_heads=heads)(9, 9)
    places = torch.arange(9)
    torch.testing.assert_close(Alibi(heads).bias(places, places), theirs)
