"""FAVOR+ with equal projections, against performer-pytorch."""

import warnings
from types import ModuleType

import pytest
import torch

from suexp.attention import Performer
from suexp.mask import Bidirectional, Causal

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    pytest.importorskip("performer_pytorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses distutils and an old autocast
        from performer_pytorch import performer_pytorch
    return performer_pytorch


def qkv(n: int) -> list[torch.Tensor]:
    return [torch.randn(2, 3, n, 16, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("causal", [False, True])
def test_outputs_and_gradients(peer: ModuleType, causal: bool) -> None:
    ours = Performer(16, 40, stabilizer="peer", eps=1e-4).eval()
    q, k, v = qkv(128)
    fq, fk = (
        peer.softmax_kernel(x, projection_matrix=ours.projection, is_query=query)
        for x, query in ((q, True), (k, False))
    )
    attend = peer.causal_linear_attention_noncuda if causal else peer.linear_attention
    expected = attend(fq, fk, v)
    out = ours(q, k, v, Causal() if causal else Bidirectional())
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    grads, wanted = (torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (out, expected))
    for grad, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, want, rtol=1e-4, atol=1e-4)


def test_features(peer: ModuleType) -> None:
    ours = Performer(16, 40, stabilizer="peer", eps=1e-4).eval()
    q, k, _ = qkv(20)
    for feature_map, x, query in zip(ours.maps(torch.float32), (q, k), (True, False), strict=True):
        expected = peer.softmax_kernel(x, projection_matrix=ours.projection, is_query=query)
        features, _ = feature_map(x.flatten(0, 1))
        torch.testing.assert_close(features.view_as(expected), expected, rtol=1e-5, atol=1e-6)


def test_relu_kernel(peer: ModuleType) -> None:
    ours = Performer(16, 40, kernel="relu").eval()
    q, k, v = qkv(32)
    fq, fk = (peer.generalized_kernel(x, projection_matrix=ours.projection) for x in (q, k))
    expected = peer.linear_attention(fq, fk, v)
    torch.testing.assert_close(ours(q, k, v, Bidirectional()), expected, rtol=0, atol=1e-5)


def test_the_peer_lets_later_keys_leak_and_we_do_not(peer: ModuleType) -> None:
    exact, like_peer = (
        Performer(16, 40).eval(),
        Performer(16, 40, stabilizer="peer", eps=1e-4).eval(),
    )
    like_peer.projection.copy_(exact.projection)
    q, k, v = (x.detach() for x in qkv(64))
    # A key along a random direction, where its feature is largest.
    changed = k.clone()
    changed[:, :, 40] = exact.projection[0] * 2
    moved = []
    for attention in (exact, like_peer):
        before, after = attention(q, k, v, Causal()), attention(q, changed, v, Causal())
        moved.append((before - after)[:, :, :40].abs().max().item())
    assert moved[0] == 0
    assert moved[1] > 0.01
