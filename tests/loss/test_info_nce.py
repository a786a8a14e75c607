"""InfoNCE against its definition, its closed gradient, and edge cases."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import suexp.loss.info_nce as module
from suexp.loss import InfoNCE


def vectors(n: int, d: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_two_tower_is_the_mean_of_both_cross_entropies(similarity: Any) -> None:
    a, b = vectors(7), vectors(7, seed=1)
    loss = InfoNCE(0.3, similarity)(a, b)
    if similarity == "cosine":
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    scores, target = a @ b.T / 0.3, torch.arange(7)
    expected = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
    torch.testing.assert_close(loss, expected)


def test_interleaved_masks_the_diagonal() -> None:
    h = vectors(8)
    scores = F.normalize(h, dim=1) @ F.normalize(h, dim=1).T
    scores = scores - 1e12 * torch.eye(8)
    expected = F.cross_entropy(scores / 0.05, torch.arange(8) ^ 1)
    loss = InfoNCE(layout="interleaved")
    torch.testing.assert_close(loss(h), expected)
    torch.testing.assert_close(loss(h[::2], h[1::2]), expected)


def test_gradient_is_the_closed_form_of_the_post() -> None:
    # The post sums where we take the mean; its scores are plain inner products.
    h = vectors(10).requires_grad_()
    loss = 10 * InfoNCE(1.0, "dot", "interleaved")(h)
    (gradient,) = torch.autograd.grad(loss, h)
    with torch.no_grad():
        p = (h @ h.T).fill_diagonal_(-math.inf).softmax(1)
        t = torch.eye(10, dtype=h.dtype)[torch.arange(10) ^ 1]
        expected = 2 * ((p + p.T) / 2 - t) @ h
    assert (gradient - expected).norm() / expected.norm() < 1e-12


def test_pairs_that_are_no_pairs_compete_only() -> None:
    a, b = vectors(6), vectors(6, seed=1)
    positive = torch.tensor([True, False, True, True, False, True])
    loss = InfoNCE(0.2)(a, b, positive)
    scores = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / 0.2
    rows = torch.arange(6)
    losses = F.cross_entropy(scores, rows, reduction="none")
    losses = (losses + F.cross_entropy(scores.T, rows, reduction="none")) / 2
    torch.testing.assert_close(loss, losses[positive].mean())


@pytest.mark.parametrize("layout", ["two_tower", "interleaved"])
def test_no_true_pair_at_all_gives_zero_with_zero_gradients(layout: Any) -> None:
    a, b = vectors(3).requires_grad_(), vectors(3, seed=1)
    loss = InfoNCE(layout=layout)(a, b, torch.zeros(3, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, a)
    assert loss == 0
    assert gradient.count_nonzero() == 0


@pytest.mark.parametrize("layout", ["two_tower", "interleaved"])
def test_flat_has_the_gradient_of_flat_nce(layout: Any) -> None:
    a, b = vectors(4).requires_grad_(), vectors(4, seed=1)
    (ours,) = torch.autograd.grad(InfoNCE(0.5, layout=layout, flat=True)(a, b), a)
    x, y = F.normalize(a, dim=1), F.normalize(b, dim=1)
    if layout == "two_tower":
        tables = [(x @ y.T / 0.5, torch.arange(4)), (y @ x.T / 0.5, torch.arange(4))]
        left_out = torch.eye(4, dtype=torch.bool)
    else:
        h = torch.stack((x, y), 1).flatten(0, 1)
        tables = [(h @ h.T / 0.5, torch.arange(8) ^ 1)]
        left_out = torch.eye(4, dtype=torch.bool).repeat_interleave(2, 0).repeat_interleave(2, 1)
    total = torch.zeros((), dtype=a.dtype)
    for scores, partner in tables:
        contrast = scores - scores[torch.arange(len(scores)), partner][:, None]
        lse = contrast.masked_fill(left_out, -math.inf).logsumexp(1)
        total = total + (lse - lse.detach()).exp().mean() / len(tables)
    assert total.item() == pytest.approx(1)  # as in its paper
    (theirs,) = torch.autograd.grad(total, a)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("layout", ["two_tower", "interleaved"])
def test_blocks_change_nothing(layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = vectors(7).requires_grad_(), vectors(7, seed=1)
    loss = InfoNCE(0.1, layout=layout)
    whole = loss(a, b)
    monkeypatch.setattr(module, "BLOCK", 3)
    blocks = loss(a, b)
    torch.testing.assert_close(blocks, whole)
    for x, y in zip(torch.autograd.grad(blocks, a), torch.autograd.grad(whole, a), strict=True):
        torch.testing.assert_close(x, y)


def test_a_learned_temperature_starts_where_it_is_told_and_is_trained() -> None:
    a, b = vectors(6), vectors(6, seed=1)
    fixed, learned = InfoNCE(0.07), InfoNCE(0.07, learnable=True).double()
    assert list(fixed.parameters()) == []
    assert learned.temperature == pytest.approx(0.07, rel=1e-6)
    torch.testing.assert_close(learned(a, b), fixed(a, b), rtol=1e-5, atol=0)
    learned(a, b).backward()
    numeric = (InfoNCE(0.07 * math.exp(-1e-5))(a, b) - InfoNCE(0.07 * math.exp(1e-5))(a, b)) / 2e-5
    assert learned.log_scale is not None
    assert learned.log_scale.grad is not None
    assert learned.log_scale.grad.item() == pytest.approx(numeric.item(), rel=1e-4)


def test_half_precision_and_autocast_compute_in_float32() -> None:
    a, b = vectors(16, 64).float(), vectors(16, 64, seed=1).float()
    expected = InfoNCE()(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(InfoNCE()(a, b), expected)
    low = InfoNCE()(a.bfloat16(), b.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, expected, rtol=1e-2, atol=1e-2)


def test_large_scores_stay_finite() -> None:
    a = 1e4 * vectors(4).float()
    loss = InfoNCE(0.01, "dot")(a, a)
    assert torch.isfinite(loss)


def test_refuses_a_temperature_of_zero() -> None:
    with pytest.raises(ValueError, match=r"temperature must be above 0, not 0\.0"):
        InfoNCE(0.0)


def test_refuses_vectors_without_partners() -> None:
    with pytest.raises(ValueError, match="give two towers"):
        InfoNCE()(vectors(4))
    with pytest.raises(ValueError, match="of 3 vectors: they come in pairs"):
        InfoNCE(layout="interleaved")(vectors(3))
    with pytest.raises(ValueError, match="nothing competes"):
        InfoNCE(flat=True)(vectors(1), vectors(1))


@pytest.mark.parametrize("size", [2, 6, 10])
def test_orthonormal_vectors_cost_the_logarithm_of_their_rivals(size: int) -> None:
    """All cosines but the diagonal, which is left out, are 0."""
    loss = InfoNCE(1 / 20, layout="interleaved")(torch.eye(size, dtype=torch.float64))
    assert float(loss) == pytest.approx(math.log(size - 1), abs=1e-9)


@pytest.mark.parametrize("scale", [1.0, 20.0, 30.0])
def test_perfect_pairs_that_are_orthogonal_to_all_others(scale: float) -> None:
    vectors = torch.eye(4, dtype=torch.float64).repeat_interleave(2, 0)
    loss = InfoNCE(1 / scale, layout="interleaved")(vectors)
    assert float(loss) == pytest.approx(math.log(1 + 6 * math.exp(-scale)), rel=1e-6, abs=1e-12)


def test_a_fixed_tensor_has_the_stored_loss() -> None:
    """By bert4keras' formula: (S - 1e12 I) scale, labels i xor 1, mean cross entropy."""
    vectors = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], dtype=torch.float64)
    # Cosines 0.8, 0, -0.6 / 0.8, 0.6, 0 / 0, 0.6, 0.8 / -0.6, 0, 0.8 at scale 10.
    rows = [(8, 0, -6), (8, 6, 0), (8, 0, 6), (8, -6, 0)]
    expected = sum(math.log(sum(map(math.exp, row))) - row[0] for row in rows) / 4
    assert expected == pytest.approx(0.06380, abs=5e-5)
    loss = InfoNCE(0.1, layout="interleaved")(vectors)
    assert float(loss) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("layout", ["two_tower", "interleaved"])
@pytest.mark.parametrize("flat", [False, True])
def test_pairs_of_a_group_do_not_compete(
    layout: Any, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = vectors(6), vectors(6, seed=1)
    group = torch.tensor([0, 1, 0, 2, 1, 3])
    loss = InfoNCE(0.3, layout=layout, flat=flat)
    found = loss(a, b, group=group)
    x, y = F.normalize(a, dim=1), F.normalize(b, dim=1)
    if layout == "two_tower":
        scores = x @ y.T / 0.3
        same, own = group[:, None] == group, torch.eye(6, dtype=torch.bool)
        tables = [(scores, same, own), (scores.T, same, own)]
    else:
        h = torch.stack((x, y), 1).flatten(0, 1)
        both = group.repeat_interleave(2)
        partner = torch.arange(12)[:, None] ^ 1 == torch.arange(12)
        tables = [(h @ h.T / 0.3, both[:, None] == both, partner)]
    costs = []
    for scores, same, partner in tables:
        rivals = ~same if flat else ~same | partner
        costs.append(scores.masked_fill(~rivals, -torch.inf).logsumexp(1) - scores[partner])
    torch.testing.assert_close(found, torch.cat(costs).mean())
    monkeypatch.setattr(module, "BLOCK", 5)
    torch.testing.assert_close(loss(a, b, group=group), found)
    torch.testing.assert_close(loss(a, b, group=torch.arange(6)), loss(a, b))
