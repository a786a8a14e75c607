"""Intervals of proportions against scipy.stats, worked out by hand, and simulated coverage."""

import numpy as np
import pytest
from scipy import stats

from suexp.task._proportion import clopper_pearson, wilson


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
        (lambda: wilson(1, 4, 1.5), "strictly between 0 and 1"),
        (lambda: wilson(5, 4), "0 <= successes <= trials"),
        (lambda: wilson(0, 0), "trials >= 1"),
        (lambda: clopper_pearson(-1, 4), "0 <= successes"),
    ],
)
def test_impossible_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
