"""Intervals against scipy.stats, values worked out by hand, and simulated coverage."""

import numpy as np
import pytest
from scipy import stats

from suexp.judge.intervals import clopper_pearson, mean_interval, wilson


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


@pytest.mark.parametrize(("name", "ours"), [("wilson", wilson), ("exact", clopper_pearson)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_proportion_intervals_are_scipys(name, ours, confidence):
    cells = [(0, 10), (1, 10), (5, 10), (9, 10), (10, 10), (1, 1), (76550, 100_000), (0, 10**8)]
    low, high = ours([k for k, _ in cells], [n for _, n in cells], confidence)
    for (k, n), l_, h_ in zip(cells, low, high, strict=True):
        expected = stats.binomtest(k, n).proportion_ci(confidence, method=name)
        assert (l_, h_) == pytest.approx(tuple(expected), abs=1e-12)


def test_wilson_by_hand():
    # k = n/2 = 50, z = 1.959964: 0.5 +- z sqrt(25 + z²/4) / (100 + z²)
    z = 1.959963984540054
    low, high = wilson(50, 100)
    assert float(high) == pytest.approx(0.5 + z * (25 + z * z / 4) ** 0.5 / (100 + z * z))
    assert float(low) == pytest.approx(1 - float(high))


def test_certain_cells_end_exactly_at_zero_and_one_with_a_width():
    low, high = wilson(np.array([0, 48, 100_000]), np.array([48, 48, 100_000]))
    assert low[0] == 0.0
    assert high[1] == 1.0
    assert high[2] == 1.0
    assert 0 < high[0] < 0.1
    assert 0.9 < low[1] < 1


def test_intervals_keep_the_shape_and_broadcast():
    low, high = wilson(np.arange(12).reshape(3, 4), 12)
    assert low.shape == high.shape == (3, 4)
    assert (low < high).all()
    exact = clopper_pearson(np.arange(12).reshape(3, 4), 12)
    assert (exact.high - exact.low > high - low).all()


def test_wilson_covers_95_percent_on_average():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.05, 0.95, 20_000)
    low, high = wilson(rng.binomial(200, p), 200)
    assert np.mean((low <= p) & (p <= high)) == pytest.approx(0.95, abs=0.006)


def test_clopper_pearson_never_undercovers():
    n = 20
    k = np.arange(n + 1)
    low, high = clopper_pearson(k, n)
    for p in np.linspace(0.01, 0.99, 99):
        covered = stats.binom.pmf(k, n, p)[(low <= p) & (p <= high)].sum()
        assert covered >= 0.95 - 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "at least one value"),
        (lambda: mean_interval([1.0, 2.0], 1.5), "strictly between 0 and 1"),
        (lambda: wilson(5, 4), "0 <= successes <= trials"),
        (lambda: wilson(0, 0), "trials >= 1"),
        (lambda: clopper_pearson(-1, 4), "0 <= successes"),
    ],
)
def test_impossible_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
