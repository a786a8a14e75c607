"""Distances between real and generated points, by hand and against scipy."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from suexp.task._samples import coverage, wasserstein


def test_wasserstein_by_hand() -> None:
    a = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert wasserstein(a, a.flip(0)) == 0
    assert wasserstein(a, torch.tensor([[1.0, 1.0], [0.0, 3.0]])) == pytest.approx(2)


def test_wasserstein_in_one_dimension_is_scipys() -> None:
    a, b = torch.randn(200, 1), torch.randn(200, 1).abs()
    expected = wasserstein_distance(a[:, 0].numpy(), b[:, 0].numpy())
    assert wasserstein(a, b) == pytest.approx(expected, rel=1e-5)


def test_a_point_that_is_no_number_is_infinitely_far() -> None:
    a = torch.zeros(2, 2)
    assert wasserstein(a, torch.tensor([[0.0, math.nan], [0.0, 0.0]])) == math.inf


def test_coverage() -> None:
    centres = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]
    near = torch.tensor([[0.29, 0.0], [0.31, 0.0], [10.0, 0.2], [5.0, 5.0]])
    assert coverage(near, centres, 0.1) == (0.5, 2)
    # 60 points, 20 a mode on average: a mode counts from 2 on
    points = torch.zeros(60, 2)
    points[0, 0] = 10.0
    assert coverage(points, centres, 0.1) == (1.0, 1)
    points[1, 0] = 10.0
    assert coverage(points, centres, 0.1) == (1.0, 2)
