from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from suexp.data.gaussian_classes import GaussianClasses


def rows(**arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    x, label = GaussianClasses(**arguments).tables()["train"]
    return x, label


def test_means_variances_and_shares() -> None:
    x, label = rows(num_train=200_000, distance=3.0, spread=4.0, dim=9)
    assert label.mean() == pytest.approx(0.3, abs=0.005)
    assert x[label == 0].mean(0) == pytest.approx(np.zeros(9), abs=0.02)
    assert x[label == 1].mean(0) == pytest.approx(np.ones(9), abs=0.05)
    assert np.cov(x[label == 0].T) == pytest.approx(np.eye(9), abs=0.03)
    assert np.cov(x[label == 1].T) == pytest.approx(4 * np.eye(9), abs=0.12)


def test_with_one_covariance_the_truth_is_linear() -> None:
    x, label = rows(num_train=300_000)
    fit = LinearDiscriminantAnalysis(solver="lsqr").fit(x, label)
    assert fit.coef_[0] == pytest.approx(np.full(10, 2 / np.sqrt(10)), abs=0.03)
    assert fit.intercept_[0] == pytest.approx(-2 + np.log(0.3 / 0.7), abs=0.05)


def test_splits_and_seeds_differ() -> None:
    tables = GaussianClasses(num_train=50, num_validation=50).tables()
    assert not np.allclose(tables["train"][0], tables["validation"][0])
    assert not np.allclose(rows(num_train=50)[0], rows(num_train=50, seed=1)[0])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"dim": 0}, "data.dim"), ({"spread": 0.0}, "data.spread"), ({"share": 1.0}, "data.share")],
)
def test_values_out_of_range(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GaussianClasses(**wrong)
