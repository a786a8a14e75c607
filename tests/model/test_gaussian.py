import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from suexp.errors import UserError
from suexp.model import Gaussian
from tests.model.test_ppca import fitted


def rows(count: int = 300) -> torch.Tensor:
    return torch.randn(count, 4, dtype=torch.float64) @ torch.randn(4, 4, dtype=torch.float64)


def test_density_of_the_moments() -> None:
    x = rows()
    expected = MultivariateNormal(x.mean(0), torch.cov(x.mT, correction=0)).log_prob(x)
    torch.testing.assert_close(fitted(Gaussian(4), x).log_prob(x), expected)
    unbiased = MultivariateNormal(x.mean(0), torch.cov(x.mT)).log_prob(x)
    torch.testing.assert_close(fitted(Gaussian(4, ddof=1), x).log_prob(x), unbiased)


def test_diagonal() -> None:
    x = rows()
    expected = Normal(x.mean(0), x.std(0, correction=0)).log_prob(x).sum(-1)
    torch.testing.assert_close(fitted(Gaussian(4, "diagonal"), x).log_prob(x), expected)


def test_a_constant_column_needs_a_ridge() -> None:
    x = rows()
    x[:, 1] = 3.0
    with pytest.raises(UserError, match=r"the covariance is singular.*model.ridge"):
        fitted(Gaussian(4), x)
    assert fitted(Gaussian(4, ridge=0.1), x).log_prob(x).isfinite().all()


@pytest.mark.parametrize(
    "changes", [{"covariance": "spherical"}, {"ridge": -1.0}, {"ddof": 3}, {"input_dim": 0}]
)
def test_out_of_range(changes: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        Gaussian(**({"input_dim": 4} | changes))
