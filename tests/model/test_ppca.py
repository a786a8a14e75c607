import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor
from torch.distributions import MultivariateNormal

from suexp.errors import UserError
from suexp.model import PPCA
from suexp.nn.density import FittedDensity


def fitted(model: FittedDensity, x: Tensor, batch: int = 100) -> FittedDensity:
    """Fit as the task does: sums over batches, one pass after the other."""
    sums: dict[str, Tensor] = {}
    for number in range(model.passes):
        for part in x.double().split(batch):
            for name, value in model.statistics(part, number).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
        model.solve(sums, number)
    return model


def digits() -> Tensor:
    pixels = load_digits().data
    noise = np.random.default_rng(0).random(pixels.shape)
    return torch.from_numpy((pixels + noise) / 4)


@pytest.mark.parametrize("batch", [100, 64])
def test_likelihood_is_scikit_learns(batch: int) -> None:
    train, test = digits()[:1400], digits()[1400:]
    model = fitted(PPCA(64, 8, ddof=1), train, batch)
    reference = PCA(n_components=8).fit(train.numpy())
    assert model.log_prob(test).mean().item() == pytest.approx(reference.score(test), abs=1e-8)
    each = torch.from_numpy(reference.score_samples(test.numpy()))
    torch.testing.assert_close(model.log_prob(test), each, atol=1e-8, rtol=0)
    assert model.log_noise.exp().item() == pytest.approx(reference.noise_variance_, rel=1e-10)


def test_likelihood_is_torchs() -> None:
    model = fitted(PPCA(64, 8), digits()[:1400])
    covariance = model.loadings @ model.loadings.mT
    covariance += model.log_noise.exp() * torch.eye(64, dtype=torch.float64)
    expected = MultivariateNormal(model.mean, covariance).log_prob(digits()[1400:])
    torch.testing.assert_close(model.log_prob(digits()[1400:]), expected, atol=1e-8, rtol=0)


def test_posterior_is_bayes_rule() -> None:
    model = fitted(PPCA(64, 3), digits()[:500])
    x = digits()[500:504]
    w, noise = model.loadings, model.log_noise.exp()
    k = w.mT @ w + noise * torch.eye(3, dtype=torch.float64)
    mean, log_var = model.posterior(x)
    torch.testing.assert_close(mean, torch.linalg.solve(k, ((x - model.mean) @ w).mT).mT)
    torch.testing.assert_close(torch.diag(log_var[0].exp()), noise * torch.linalg.inv(k))
    assert torch.equal(model.encode(x)[0], mean)
    wide = PPCA(64, 3, proposal_scale=1.5)
    wide.load_state_dict(model.state_dict())
    torch.testing.assert_close(wide.encode(x)[1], log_var + 2 * np.log(1.5))


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    x = torch.randn(500, 5, dtype=torch.float64)
    near, far = fitted(PPCA(5, 2), x), fitted(PPCA(5, 2), x + 1e6)
    torch.testing.assert_close(near.loadings, far.loadings, atol=1e-8, rtol=0)


def test_weights_are_not_trained() -> None:
    model = PPCA(5, 2)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == 5 + 5 * 2 + 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"latent_dim": 5}, "latent_dim must be at least 1 and below the 5 of the data, not 5"),
        ({"latent_dim": 0}, "not 0"),
        ({"proposal_scale": 0.0}, "proposal_scale must be above 0"),
        ({"ddof": 2}, "ddof must be 0 or 1"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        PPCA(5, **({"latent_dim": 2} | changes))


def test_rows_without_noise_are_refused() -> None:
    flat = torch.randn(50, 2, dtype=torch.float64) @ torch.randn(2, 5, dtype=torch.float64)
    with pytest.raises(UserError, match=r"the rows lie in model.latent_dim=3 dimensions"):
        fitted(PPCA(5, 3), flat)
