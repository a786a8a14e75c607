"""Against torch.distributions, autograd and the closed forms of https://kexue.fm/archives/7038."""

import pytest
import torch
from torch import distributions as dist

from suexp.nn.gaussian_mixture import GaussianMixture, normal


@pytest.fixture
def mixture() -> GaussianMixture:
    root = torch.tensor([[[0.5, 0.0], [0.3, 0.4]], [[0.2, 0.0], [-0.1, 0.6]]], dtype=torch.float64)
    return GaussianMixture([2.0, 1.0], [[-1.0, 0.5], [1.5, 0.0]], root @ root.mT)


def points(n: int = 40) -> torch.Tensor:
    return 2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_density_is_that_of_torch(mixture: GaussianMixture) -> None:
    peer = dist.MixtureSameFamily(
        dist.Categorical(mixture.weights),
        dist.MultivariateNormal(mixture.means, mixture.covariances),
    )
    assert torch.allclose(mixture.log_prob(points()), peer.log_prob(points()), atol=1e-12)


def test_score_is_the_gradient(mixture: GaussianMixture) -> None:
    x = points().requires_grad_()
    (gradient,) = torch.autograd.grad(mixture.log_prob(x).sum(), x)
    assert torch.allclose(mixture.score(x), gradient, atol=1e-11)


def test_the_score_of_the_noised_law_denoises(mixture: GaussianMixture) -> None:
    variance, u = 0.49, points()
    # E[x|u]: the posterior mean of each component, weighed by the posterior of the component.
    noised = mixture.noised(variance)
    eye = torch.eye(2, dtype=torch.float64)
    wide = mixture.covariances + variance * eye
    each = torch.stack(
        [
            m + (c @ torch.linalg.solve(w, (u - m).T)).T
            for m, c, w in zip(mixture.means, mixture.covariances, wide, strict=True)
        ]
    )
    joint = torch.stack(
        [
            dist.MultivariateNormal(m, w).log_prob(u) + p.log()
            for m, w, p in zip(mixture.means, wide, mixture.weights, strict=True)
        ]
    )
    best = (joint.softmax(0)[..., None] * each).sum(0)
    assert torch.allclose(u + variance * noised.score(u), best, atol=1e-12)


def test_a_map_moves_mean_and_covariance() -> None:
    law = normal([1.0, 2.0], 0.5).mapped(torch.tensor([[0.0, -1.0], [2.0, 0.0]]), noise=0.1)
    assert law.means.tolist() == [[-2.0, 2.0]]
    assert torch.allclose(law.covariances[0], torch.diag(torch.tensor([0.6, 2.1])).double())


def test_samples_have_the_moments(mixture: GaussianMixture) -> None:
    x = mixture.sample(200_000, torch.Generator().manual_seed(1))
    mean = mixture.weights @ mixture.means
    assert torch.allclose(x.mean(0), mean, atol=0.02)
    second = torch.einsum("k,kde->de", mixture.weights, mixture.covariances)
    second += torch.einsum("k,kd,ke->de", mixture.weights, mixture.means, mixture.means)
    assert torch.allclose(x.T @ x / len(x), second, atol=0.03)
    assert mixture.sample(3, torch.Generator(), torch.float32).dtype == torch.float32
