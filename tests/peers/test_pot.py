"""Distances of clouds against POT's, torchmetrics' and SciPy's."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import energy_distance as scipy_energy

from suexp.task._samples import energy_distance, frechet, sliced_wasserstein, wasserstein

pytestmark = pytest.mark.peer


def clouds(d: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(60, d, generator=generator, dtype=torch.float64)
    b = 0.5 + 1.5 * torch.randn(60, d, generator=generator, dtype=torch.float64)
    return a, b


def test_the_exact_distance_is_pots() -> None:
    ot = pytest.importorskip("ot")
    a, b = clouds(3)
    uniform = np.full(60, 1 / 60)
    peer = ot.emd2(uniform, uniform, ot.dist(a.numpy(), b.numpy(), metric="euclidean"))
    assert wasserstein(a, b) == pytest.approx(peer, rel=1e-9)


def test_the_sliced_distance_is_pots() -> None:
    ot = pytest.importorskip("ot")
    a, b = clouds(3)
    peer = ot.sliced_wasserstein_distance(a.numpy(), b.numpy(), n_projections=20_000, p=1, seed=1)
    assert sliced_wasserstein(a, b, 20_000) == pytest.approx(float(peer), rel=0.01)
    one = torch.randn(50, 1, dtype=torch.float64)
    assert sliced_wasserstein(one, one + 2) == pytest.approx(2)


def test_the_energy_distance_is_scipys() -> None:
    a, b = clouds(1)
    peer = scipy_energy(a[:, 0].numpy(), b[:, 0].numpy()) ** 2
    assert energy_distance(a, b) == pytest.approx(peer, rel=1e-9)
    assert energy_distance(a, a) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("d", [1, 4])
def test_frechets_distance_is_that_of_the_moments(d: int) -> None:
    a, b = clouds(d)
    s, t = (np.atleast_2d(np.cov(x.numpy().T)) for x in (a, b))
    off = (a.mean(0) - b.mean(0)).square().sum()
    peer = float(off) + float(np.trace(s + t - 2 * sqrtm(s @ t).real))
    assert frechet(a, b) == pytest.approx(peer, rel=1e-6)
