"""The t interval against scipy.stats, values worked out by hand, and simulated coverage."""

import numpy as np
import pytest
from scipy import stats

from suexp.judge.intervals import mean_interval


def test_t_interval_by_hand():
    # mean 2, s = 1, t(2 degrees of freedom, 97.5 %) = 4.302653, half-width 4.302653 / sqrt(3)
    estimate = mean_interval([1.0, 2.0, 3.0])
    assert estimate.mean == 2.0
    assert estimate.n == 3
    assert estimate.high == pytest.approx(2 + 4.302652729749464 / 3**0.5, abs=1e-12)
    assert estimate.low == pytest.approx(2 - 4.302652729749464 / 3**0.5, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_t_interval_is_scipys(n, confidence):
    x = np.random.default_rng(n).normal(3, 2, n)
    expected = stats.t.interval(confidence, n - 1, loc=x.mean(), scale=stats.sem(x))
    assert mean_interval(x, confidence)[1:3] == pytest.approx(expected, rel=1e-10)


def test_paired_interval_inverts_the_paired_t_test():
    """The interval of the differences excludes 0 exactly when the paired test rejects."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for shift in (0.0, 0.3, 0.6, 1.0, 2.0):
        a, b = rng.normal(0, 1, 6), rng.normal(shift, 1, 6)
        _, low, high, _ = mean_interval(a - b)
        rejects = bool(stats.ttest_rel(a, b).pvalue < 0.05)
        assert rejects == (high < 0 or low > 0)
        verdicts.add(rejects)
    assert verdicts == {True, False}


def test_no_spread_gives_zero_width_at_the_very_value():
    assert mean_interval([0.1] * 3) == (0.1, 0.1, 0.1, 3)  # np.mean([.1] * 3) is not 0.1


def test_one_value_gives_no_interval():
    assert mean_interval([4.0]) == (4.0, None, None, 1)


def test_t_interval_covers_95_percent():
    rng = np.random.default_rng(0)
    draws, repeats = rng.normal(1.0, 3.0, (4000, 3)), 4000
    intervals = [mean_interval(row) for row in draws]
    covered = sum(low <= 1.0 <= high for _, low, high, _ in intervals)
    low, high = stats.binom.interval(0.9999, repeats, 0.95)
    assert low <= covered <= high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "at least one value"),
        (lambda: mean_interval([1.0, 2.0], 1.5), "strictly between 0 and 1"),
    ],
)
def test_impossible_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
