"""Estimates of a density, on models whose density is known."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from suexp.init import Default
from suexp.model import PPCA, VAE
from suexp.nn.density import kl_to_standard_normal, log_normal, log_standard_normal
from suexp.task._density import log_estimates, sample_size


def ppca(dimensions: int = 12, q: int = 8, c: float = 1.0) -> PPCA:
    """A model of spread-out components."""
    generator = torch.Generator().manual_seed(0)
    model = PPCA(dimensions, q, proposal_scale=c)
    root = torch.randn(dimensions, dimensions, dtype=torch.float64, generator=generator)
    model.mean.copy_(torch.randn(dimensions, dtype=torch.float64, generator=generator))
    model.set_covariance(root @ root.mT)
    return model


def rows(model: PPCA, count: int) -> Tensor:
    covariance = model.loadings @ model.loadings.mT
    covariance += model.log_noise.exp() * torch.eye(len(covariance), dtype=torch.float64)
    return MultivariateNormal(model.mean, covariance).sample((count,))


def test_normal_densities_have_all_their_constants() -> None:
    x, mean, log_var = torch.randn(3, 5, 4, dtype=torch.float64)
    expected = Normal(mean, (log_var / 2).exp())
    torch.testing.assert_close(log_normal(x, mean, log_var), expected.log_prob(x).sum(-1))
    standard = Normal(torch.zeros_like(mean), 1.0)
    torch.testing.assert_close(log_standard_normal(x), standard.log_prob(x).sum(-1))
    kl = kl_divergence(expected, standard).sum(-1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_var), kl)


def test_16_bits_are_widened() -> None:
    x = torch.randn(4, 64, dtype=torch.bfloat16)
    assert log_normal(x, x, x).dtype == torch.float32


@pytest.mark.parametrize("num_samples", [1, 7])
@pytest.mark.parametrize("proposal", ["encoder", "posterior"])
def test_the_exact_posterior_has_no_variance(num_samples: int, proposal: str) -> None:
    model = ppca()
    x = rows(model, 20)
    estimate = log_estimates(model.log_weights(x, num_samples, proposal), num_samples)
    torch.testing.assert_close(estimate, model.log_prob(x)[None], atol=1e-8, rtol=0)


@pytest.mark.parametrize(("c", "gap"), [(1.3, -0.661), (0.8, -0.345)])
def test_the_bias_of_one_sample_is_a_divergence(c: float, gap: float) -> None:
    model = ppca(c=c)
    x = rows(model, 400)
    off = log_estimates(model.log_weights(x, 100), 1) - model.log_prob(x)
    error = 3 * off.std().item() / math.sqrt(off.numel())
    assert gap == pytest.approx(-8 * (-math.log(c) + (c**2 - 1) / 2), abs=5e-4)
    assert off.mean().item() == pytest.approx(gap, abs=error + 5e-4)


@pytest.mark.slow
def test_the_bias_falls_as_one_over_m() -> None:
    model = ppca(c=1.3)
    assert model.relative_variance() / 2 == pytest.approx(0.537, abs=5e-4)
    x = rows(model, 4000)
    m = 64
    off = (log_estimates(model.log_weights(x, 4 * m), m) - model.log_prob(x)).mean(0)
    error = 3 * off.std().item() / math.sqrt(len(off))
    # The next term of the expansion is of the order of 1/m.
    assert m * off.mean().item() == pytest.approx(-0.537, abs=m * error + 0.02)


def test_variance_is_infinite_where_the_proposal_is_too_narrow() -> None:
    assert ppca(c=0.7).relative_variance() == math.inf
    assert ppca(c=1.0).relative_variance() == 0
    assert ppca(c=0.8).relative_variance() == pytest.approx(
        (0.64 / math.sqrt(0.28)) ** 8 - 1, rel=1e-9
    )


def test_more_samples_never_estimate_less() -> None:
    model = ppca(c=1.3)
    log_w = model.log_weights(rows(model, 5), 64)
    means = [log_estimates(log_w, m).mean(0) for m in (1, 2, 4, 8, 16, 32, 64)]
    for fewer, more in itertools.pairwise(means):
        assert (more >= fewer).all()


def test_the_estimate_has_no_bias() -> None:
    model = ppca(q=1, c=1.3)
    x = rows(model, 3)
    relative = (model.log_weights(x, 100_000) - model.log_prob(x)).exp()
    error = 3 * relative.std(0) / math.sqrt(len(relative))
    assert ((relative.mean(0) - 1).abs() < error).all()


def test_the_prior_estimates_it_badly() -> None:
    model = ppca(c=1.3)
    x = rows(model, 50)
    exact = model.log_prob(x)
    by_prior = log_estimates(model.log_weights(x, 256, "prior"), 256)[0] - exact
    by_encoder = log_estimates(model.log_weights(x, 4), 4)[0] - exact
    assert by_prior.mean() < by_encoder.mean() - 1


@pytest.mark.slow
def test_any_decoder_against_an_integral() -> None:
    torch.manual_seed(1)
    model = VAE(3, Default(gain=2.0), latent_dim=1, hidden_dims=(16,), activation="tanh").double()
    x = torch.randn(6, 3, dtype=torch.float64)
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    latent = z[:, None, None].expand(-1, 6, 1)
    integrand = model.log_likelihood(x, latent) + log_standard_normal(latent)
    exact = torch.trapezoid(integrand.exp(), z, dim=0).log()
    for proposal in ("encoder", "prior"):
        estimate = log_estimates(model.log_weights(x, 100_000, proposal), 100_000)[0]
        torch.testing.assert_close(estimate, exact, atol=2e-2, rtol=0)
    estimates = [log_estimates(model.log_weights(x, 10_000), 10_000)[0] for _ in range(10)]
    torch.testing.assert_close(torch.stack(estimates).mean(0), exact, atol=1e-2, rtol=0)


def test_a_density_of_the_plane_integrates_to_one() -> None:
    torch.manual_seed(0)
    model = VAE(2, Default(), latent_dim=2, hidden_dims=(8,), min_log_var=-2.0, max_log_var=0.0)
    side = torch.linspace(-8, 8, 81)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        log_q = log_estimates(model.log_weights(grid, 200), 200)[0]
    assert (log_q.exp().sum() * (16 / 80) ** 2).item() == pytest.approx(1, abs=0.01)


def test_effective_sample_size() -> None:
    equal = torch.zeros(10, 2)
    torch.testing.assert_close(sample_size(equal), torch.tensor([10.0, 10.0]))
    single = torch.tensor([[0.0], [-500.0], [-500.0]])
    assert sample_size(single).item() == pytest.approx(1)
    log_w = torch.tensor([[1.0], [2.0], [3.0]]).log()
    assert sample_size(log_w - 900).item() == pytest.approx(36 / 14, rel=1e-5)


def test_a_generator_gives_the_draws() -> None:
    model, x = ppca(c=1.3), torch.zeros(2, 12)
    draws = [
        model.log_weights(x, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_unknown_proposals_are_refused() -> None:
    model: nn.Module = VAE(3, Default())
    with pytest.raises(ValueError, match="the posterior of VAE is not known; use the encoder"):
        model.log_weights(torch.zeros(2, 3), 1, "posterior")
