import pytest
import torch
from sklearn.mixture import GaussianMixture

from suexp.errors import UserError
from suexp.model import GMM


def rows() -> torch.Tensor:
    x = torch.randn(400, 3, dtype=torch.float64)
    return x + 5 * (torch.arange(400) % 3)[:, None]


@pytest.mark.parametrize(("covariance", "name"), [("full", "full"), ("diagonal", "diag")])
def test_density_is_scikit_learns(covariance: str, name: str) -> None:
    x = rows()
    model = GMM(3, 4, covariance, seed=1)
    model.solve(model.statistics(x, 0), 0)
    reference = GaussianMixture(4, covariance_type=name, reg_covar=1e-3, random_state=1).fit(x)
    expected = torch.from_numpy(reference.score_samples(x))
    torch.testing.assert_close(model.log_prob(x), expected, atol=1e-10, rtol=0)
    assert model.log_prob(x.float()).dtype == torch.float64


def test_too_few_rows() -> None:
    model = GMM(3, 10)
    with pytest.raises(UserError, match=r"model=gmm: .*n_samples.*see model.num_components"):
        model.solve({"rows": rows()[:4]}, 0)


@pytest.mark.parametrize("changes", [{"num_components": 0}, {"ridge": -1.0}, {"max_iter": 0}])
def test_out_of_range(changes: dict) -> None:
    with pytest.raises(ValueError, match="at least"):
        GMM(3, **changes)
