"""Positions that lower the scores of far keys: KERPLE, Sandwich, T5."""

import copy

import pytest
import torch
from torch import nn

from suexp.position import T5, Alibi, KerpleLog, KerplePower, Sandwich, Sinusoidal
from suexp.position.alibi import slopes
from suexp.position.base import Position
from suexp.position.t5 import buckets

PLACES = torch.arange(50)
KINDS = [KerpleLog(12), KerplePower(12), Sandwich(12), T5(12)]


@pytest.mark.parametrize("position", KINDS, ids=lambda p: type(p).__name__)
def test_only_the_distance_matters(position: Position) -> None:
    bias = position.bias(PLACES, PLACES)
    assert bias is not None
    assert bias.shape == (12, 50, 50)
    shifted = position.bias(PLACES + 1000, PLACES + 1000)
    torch.testing.assert_close(shifted, bias, atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(position.bias(PLACES[40:], PLACES), bias[:, 40:])
    rows = torch.stack([PLACES, PLACES + 7])
    both = position.bias(rows, rows)
    torch.testing.assert_close(both, bias.expand(2, -1, -1, -1), atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("position", KINDS[:2], ids=lambda p: type(p).__name__)
def test_kerple_falls_from_0_and_trains(position: Position) -> None:
    position = copy.deepcopy(position)
    bias = position.bias(PLACES, PLACES)
    assert bias is not None
    assert (bias.diagonal(dim1=-2, dim2=-1) == 0).all()
    row = bias[:, -1].flip(-1)
    assert (row.diff() < 0).all()
    bias.sum().backward()
    for parameter in position.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).all()


def test_kerples_numbers_by_hand() -> None:
    log, power = KerpleLog(1), KerplePower(1)
    with torch.no_grad():
        log.r1.value.fill_(0.5)
        log.r2.value.fill_(2.0)
        power.r1.value.fill_(0.5)
        power.r2.value.fill_(1.5)
    near, far = torch.tensor([4]), torch.tensor([0])
    assert log.bias(near, far).item() == pytest.approx(-0.5 * 2.1972246)  # log 9
    assert power.bias(near, far).item() == pytest.approx(-0.5 * 8)


def test_kerple_power_of_one_is_alibi() -> None:
    power = KerplePower(12)
    with torch.no_grad():
        power.r1.value.copy_(slopes(12).clamp_min(0.01))
        power.r2.value.fill_(1.0)
    expected = Alibi(12).bias(PLACES, PLACES)
    kept = slopes(12) >= 0.01
    torch.testing.assert_close(power.bias(PLACES, PLACES)[kept], expected[kept])


def test_kerple_stays_within_its_bounds_and_can_leave_them() -> None:
    """A plain clamp in the graph would give the numbers beyond the bounds no gradient."""
    power = KerplePower(2)
    with torch.no_grad():
        power.r1.value.fill_(-5.0)
        power.r2.value.fill_(7.0)
    bias = power.bias(PLACES, PLACES)
    torch.testing.assert_close(bias[0, 0, :3], torch.tensor([0.0, -0.01, -0.04]))
    bias.sum().backward()  # descent: larger penalties, so r1 comes back and r2 may not grow
    assert (power.r1.value.grad < 0).all()
    assert (power.r2.value.grad == 0).all()
    power.zero_grad()
    power.bias(PLACES, PLACES).sum().neg().backward()
    assert (power.r1.value.grad == 0).all()
    assert (power.r2.value.grad > 0).all()


def test_kerples_draws_are_the_authors() -> None:
    log, power = KerpleLog(10_000), KerplePower(10_000)
    for value, top in ((log.r1, 2), (log.r2, 1), (power.r1, 1), (power.r2, 2)):
        numbers = value.value.detach()
        assert 0.01 <= numbers.min() < 0.02
        assert 0.99 * top < numbers.max() <= top
        assert numbers.mean().item() == pytest.approx(top / 2, abs=0.02 * top)


def test_sandwich_is_the_product_of_sinusoidal_positions() -> None:
    p = Sinusoidal(128, scale=1.0)
    vectors = p.embed(torch.zeros(1, 50, 128), PLACES)[0]
    expected = vectors @ vectors.mT - 64
    bias = Sandwich(12).bias(PLACES, PLACES)
    for head in (1, 5, 12):
        torch.testing.assert_close(bias[head - 1], expected * 12 / (8 * head), atol=1e-4, rtol=1e-5)
    assert (bias <= 1e-4).all()


def test_sandwich_equals_longer_queries_and_keys() -> None:
    q, k = torch.randn(2, 12, 50, 8)
    sandwich = Sandwich(12, 32)
    vectors = sandwich._vectors(PLACES).expand(12, -1, -1)
    root = (12 / (8 * torch.arange(1, 13))).sqrt()[:, None, None]
    long_q, long_k = (torch.cat((x, root * vectors), -1) for x in (q, k))
    with_bias = q @ k.mT + sandwich.bias(PLACES, PLACES)
    # What is left is a number for each head, which softmax does not see.
    torch.testing.assert_close(
        (long_q @ long_k.mT).softmax(-1), with_bias.softmax(-1), atol=1e-5, rtol=1e-4
    )


def test_t5s_buckets_by_hand() -> None:
    """32 buckets to 128: 16 each way, of which 8 hold one distance each."""
    distance = torch.tensor([0, -1, -7, -8, -11, -12, -127, -128, -9999, 1, 7, 8, 9999])
    found = buckets(distance, 32, 128, True)
    assert found.tolist() == [0, 1, 7, 8, 8, 9, 15, 15, 15, 17, 23, 24, 31]
    causal = buckets(distance, 32, 128, False)
    assert causal.tolist() == [0, 1, 7, 8, 11, 12, 31, 31, 31, 0, 0, 0, 0]


def test_t5_reads_its_table() -> None:
    position = T5(3, 8, 16)
    with torch.no_grad():
        position.table.weight.copy_(torch.arange(24.0).view(8, 3))
    bias = position.bias(PLACES[:4], PLACES[:4])
    assert bias[:, 2, 2].tolist() == [0, 1, 2]
    assert bias[:, 2, 1].tolist() == [3, 4, 5]
    assert bias[:, 2, 3].tolist() == [15, 16, 17]


@pytest.mark.parametrize("kind", [KerpleLog, KerplePower, Sandwich, T5])
def test_refuses_no_heads(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="num_heads must be at least 1, not 0"):
        kind(0)


def test_other_refusals() -> None:
    with pytest.raises(ValueError, match="inner_dim must be even and at least 2, not 7"):
        Sandwich(2, 7)
    with pytest.raises(ValueError, match="num_buckets must be a multiple of 4, not 6"):
        T5(2, 6)
    with pytest.raises(ValueError, match="max_distance must be above 8, not 8"):
        T5(2, 32, 8)
