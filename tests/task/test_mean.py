"""Means of figures over batches of unequal size."""

import math

import torch

from suexp.task._mean import weighted_mean


def test_batches_count_by_their_weights() -> None:
    mean = weighted_mean()
    mean.update(torch.tensor(1.0), weight=torch.tensor(3))
    mean.update(torch.tensor(5.0), weight=torch.tensor(1))
    assert mean.compute() == 2.0


def test_a_number_that_is_none_is_told() -> None:
    mean = weighted_mean()
    mean.update(torch.tensor(math.nan), weight=torch.tensor(3))
    mean.update(torch.tensor(5.0), weight=torch.tensor(1))
    assert math.isnan(mean.compute())
