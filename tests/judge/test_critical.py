"""Critical values of several looks, against simulated sequences and published ones."""

import numpy as np
import pytest
from scipy import stats

from suexp.judge.critical import critical, factor, mixture
from suexp.judge.looks import Seeding, looks, seconds


def ts(x, at):
    """The t statistics of each row at the looks."""
    found = [x[:, :n].mean(1) / (x[:, :n].std(1, ddof=1) / np.sqrt(n)) for n in at]
    return np.abs(np.stack(found, 1))


def test_one_look_is_students():
    assert critical((7,)) == pytest.approx((stats.t.ppf(0.975, 6),), rel=1e-12)
    assert critical((7,), 0.01) == pytest.approx((stats.t.ppf(0.995, 6),), rel=1e-12)


def test_each_look_takes_its_share():
    """400,000 sequences: each of five looks decides 1 % of them, Monte-Carlo error 0.016 %."""
    at = (3, 5, 8, 12, 20)
    x = np.random.default_rng(5).standard_normal((400_000, 20))
    beyond = ts(x, at) >= critical(at)
    first = np.where(beyond.any(1), beyond.argmax(1), -1)
    shares = [float((first == place).mean()) for place in range(len(at))]
    assert shares == pytest.approx([0.01] * 5, abs=0.0006)
    assert sum(shares) == pytest.approx(0.05, abs=0.0012)


def test_looks_one_seed_apart():
    """Then nothing is left between two looks to share, and the quadrature is another."""
    at = (3, 4, 5)
    x = np.random.default_rng(6).standard_normal((400_000, 5))
    assert (ts(x, at) >= critical(at)).any(1).mean() == pytest.approx(0.05, abs=0.0012)


def test_values_of_twenty_seeds():
    """A simulation of 2 million sequences, which is no code of ours, gave these."""
    assert critical(tuple(looks(20))) == pytest.approx((9.92, 4.42, 3.31, 2.89, 2.67), rel=0.01)


def test_without_a_last_look():
    """The values of a N(0, 10) prior at 3, 5, 8, 12 and 20 seeds."""
    found = [mixture(n) for n in (3, 5, 8, 12, 20)]
    assert found == pytest.approx([13.2, 5.4, 4.4, 4.0, 3.8], abs=0.06)
    x = np.random.default_rng(7).standard_normal((20_000, 60))
    at = range(2, 61)
    assert (ts(x, at) >= [mixture(n) for n in at]).any(1).mean() < 0.05


def test_factor():
    assert factor(1, (3, 5)) == np.inf
    assert factor(5, (3, 5)) == critical((3, 5))[1]
    assert factor(5, None) == mixture(5)
    with pytest.raises(ValueError, match="4"):
        factor(4, (3, 5))


def test_looks_and_seedings():
    assert looks(3) == [3]
    assert looks(2) == [2]
    assert looks(10) == [3, 5, 8, 10]
    assert looks(None)[:9] == [3, 5, 8, 12, 20, 32, 50, 80, 128]
    assert Seeding.of([4, 7]).seeds(2) == (4, 7)
    assert Seeding.of([4, 7]).looks == [2]
    until = Seeding.of({"until": "decided", "at_most": 8, "budget": "1.5h"})
    assert (until.looks, until.seeds(5), until.budget) == ([3, 5, 8], (0, 1, 2, 3, 4), 5400.0)
    assert str(until) == "until decided, at most 8"
    for text in ("30", "0m", "-1h", "30 days"):
        with pytest.raises(ValueError, match="as in 30m"):
            seconds(text)
