import pytest
import torch

from suexp.attention import Linear
from suexp.mask import Bidirectional, Causal, ExcludeSelf, Padding
from suexp.mask.base import Mask
from tests.attention.reference import by_definition


def test_elu_map_by_hand() -> None:
    # elu + 1: 0 -> 1, 2 -> 3, -1 -> 1/e
    q = torch.tensor([[[[0.0]]]])
    k = torch.tensor([[[[2.0], [-1.0]]]])
    v = torch.tensor([[[[1.0], [5.0]]]])
    e = 0.36787944
    expected = (3 * 1 + e * 5) / (3 + e)
    out = Linear()(q, k, v, Bidirectional())
    assert out.item() == pytest.approx(expected, abs=1e-6)


def test_relu_map_gives_zero_to_a_query_without_features() -> None:
    q = torch.tensor([[[[-1.0], [2.0]]]], requires_grad=True)
    k, v = torch.ones(1, 1, 2, 1), torch.tensor([[[[1.0], [3.0]]]])
    out = Linear("relu")(q, k, v, Bidirectional())
    assert out.flatten().tolist() == pytest.approx([0.0, 2.0])
    (grad,) = torch.autograd.grad(out.sum(), q)
    assert grad.isfinite().all()


@pytest.mark.parametrize("feature_map", ["elu", "relu"])
@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("chunk_size", [1, 7, 64, 40])
def test_chunks_do_not_matter(feature_map: str, mask: Mask, chunk_size: int) -> None:
    q, k, v = (torch.randn(2, 3, 40, d, dtype=torch.float64) for d in (6, 6, 4))
    attention = Linear(feature_map, chunk_size)
    expected = by_definition(attention, q, k, v, mask)
    torch.testing.assert_close(attention(q, k, v, mask), expected, rtol=1e-10, atol=1e-12)


def test_state_is_that_of_the_recurrent_network() -> None:
    q, k, v = (torch.randn(1, 2, 9, d, dtype=torch.float64) for d in (3, 3, 4))
    attention, state = Linear(), None
    sums, ones = torch.zeros(1, 2, 3, 4).double(), torch.zeros(1, 2, 3).double()
    for i in range(9):
        now = slice(i, i + 1)
        out, state = attention.decode(
            q[:, :, now], k[:, :, now], v[:, :, now], Causal(), None, state
        )
        fq, fk = (torch.nn.functional.elu(x[:, :, i]) + 1 for x in (q, k))
        sums = sums + fk[..., :, None] * v[:, :, i, None, :]
        ones = ones + fk
        expected = torch.einsum("bhf,bhfe->bhe", fq, sums) / (fq * ones).sum(-1, keepdim=True)
        torch.testing.assert_close(out[:, :, 0], expected)
        torch.testing.assert_close(state.sums, torch.cat([sums, ones[..., None]], -1))
    assert state.sums.shape == (1, 2, 3, 5)  # whatever the length


@pytest.mark.slow
def test_gradient_and_its_gradient() -> None:
    attention = Linear(chunk_size=3)
    q, k, v = (torch.randn(1, 2, 7, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = Causal() & Padding(torch.tensor([[True, False, True, True, True, False, True]]))
    for m in (mask, Bidirectional()):
        assert torch.autograd.gradcheck(lambda *x, m=m: attention(*x, m), (q, k, v))
        second = torch.autograd.gradgradcheck
        assert second(lambda *x, m=m: attention(*x, m), (q, k, v), fast_mode=True)


def test_long_text_in_bfloat16_keeps_its_sums_in_float32() -> None:
    # 4000 equal keys: a bfloat16 sum of ones would stop at 256.
    q = k = torch.zeros(1, 1, 4000, 2, dtype=torch.bfloat16)
    v = torch.ones(1, 1, 4000, 1, dtype=torch.bfloat16)
    v[:, :, 2000:] = 3
    out = Linear()(q, k, v, Causal())
    assert out.dtype == torch.bfloat16
    assert out[0, 0, -1, 0].item() == pytest.approx(2.0, abs=0.02)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="feature_map must be one of elu, relu, not 'gelu'"):
        Linear("gelu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chunk_size must be at least 1, not 0"):
        Linear(chunk_size=0)


@pytest.mark.parametrize("chunk_size", [1, 3, 64])
@pytest.mark.parametrize("n", [1, 2, 37])
def test_without_its_own_key_each_query_equals_the_masked_table(n: int, chunk_size: int) -> None:
    q, k, v = (torch.randn(2, 3, n, 5, requires_grad=True) for _ in range(3))
    keep = torch.rand(2, n) > 0.3
    attention, mask = Linear(chunk_size=chunk_size), ExcludeSelf() & Padding(keep)
    out, expected = attention(q, k, v, mask), by_definition(attention, q, k, v, mask)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    grads = [torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (out, expected)]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_huge_own_key_leaves_no_trace() -> None:
    """Taken away from the sum of all it would: float32 keeps 7 digits."""
    q, k, v = (torch.randn(1, 1, 20, 4) for _ in range(3))
    k[0, 0, 3], v[0, 0, 3] = 1e6, 1e6
    out = Linear()(q, k, v, ExcludeSelf())
    k[0, 0, 3], v[0, 0, 3] = 0, 0
    torch.testing.assert_close(Linear()(q, k, v, ExcludeSelf())[0, 0, 3], out[0, 0, 3])


def test_the_order_of_the_products_does_not_matter() -> None:
    # Without softmax Q (K^T V) = (Q K^T) V; the weights of a row are positive and sum to 1.
    q, k, v = (torch.randn(1, 2, 50, d, dtype=torch.float64) for d in (6, 6, 4))
    fq, fk = (torch.nn.functional.elu(x) + 1 for x in (q, k))
    weights = fq @ fk.mT
    weights = weights / weights.sum(-1, keepdim=True)
    assert (weights > 0).all()
    torch.testing.assert_close(Linear()(q, k, v, Bidirectional()), weights @ v)
    ones = torch.ones_like(v)
    torch.testing.assert_close(Linear()(q, k, ones, Bidirectional()), ones)


@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_learned_features(mask: Mask) -> None:
    q, k, v = (torch.randn(2, 3, 40, d, dtype=torch.float64, requires_grad=True) for d in (6, 6, 4))
    attention = Linear(feature_multiplier=4, num_heads=3, head_dim=6).double()
    assert attention.widening.shape == (3, 24, 6)
    wide = [torch.einsum("hfd,bhnd->bhnf", attention.widening, x) for x in (q, k)]
    expected = by_definition(Linear(), *wide, v, mask)
    out = attention(q, k, v, mask)
    torch.testing.assert_close(out, expected)
    given = (q, k, v, attention.widening)
    grads = [torch.autograd.grad(x.square().sum(), given) for x in (out, expected)]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)
    # Each block of rows turns a head's vectors: features of q begin as large as q itself.
    blocks = attention.widening.detach().view(3, 4, 6, 6)
    torch.testing.assert_close(
        blocks @ blocks.mT, torch.eye(6).double().expand(3, 4, 6, 6), atol=1e-5, rtol=0
    )


def test_learned_features_of_more_queries_than_keys() -> None:
    q, k, v = (torch.randn(1, 3, n, 6, dtype=torch.float64) for n in (9, 4, 4))
    attention = Linear(feature_multiplier=2, num_heads=3, head_dim=6).double()
    wide = [torch.einsum("hfd,bhnd->bhnf", attention.widening, x) for x in (q, k)]
    expected = by_definition(Linear(), *wide, v, Causal())
    torch.testing.assert_close(attention(q, k, v, Causal()), expected)


def test_learned_features_decode_and_raise_the_rank() -> None:
    q, k, v = (torch.randn(1, 2, 60, d) for d in (4, 4, 3))
    attention = Linear(feature_multiplier=4, num_heads=2, head_dim=4)
    with torch.no_grad():
        whole, state, parts = attention(q, k, v, Causal()), None, []
        for i in range(60):
            now = slice(i, i + 1)
            token = (x[:, :, now] for x in (q, k, v))
            out, state = attention.decode(*token, Causal(), None, state)
            parts.append(out)
        torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=1e-4, atol=1e-5)
        eye = torch.eye(60).expand(1, 2, 60, 60)
        for layer, rank in ((Linear(), 4), (attention, 16)):
            weights = layer(q.double(), k.double(), eye.double(), Bidirectional())
            assert torch.linalg.matrix_rank(weights, rtol=1e-10).unique().tolist() == [rank]


def test_learned_features_need_sizes() -> None:
    with pytest.raises(ValueError, match="feature_multiplier above 1 needs num_heads and head_dim"):
        Linear(feature_multiplier=2)
    with pytest.raises(ValueError, match="feature_multiplier must be at least 1, not 0"):
        Linear(feature_multiplier=0)
