"""The mean of a figure over batches."""

import math

from torchmetrics import MeanMetric


def weighted_mean() -> MeanMetric:
    """Return a mean with weights, in which NaN counts: a loss that is no number is told as it is.

    By default torchmetrics leaves NaN out, and ``nan_strategy="disable"`` forgets the weights.
    """
    return MeanMetric(nan_strategy=math.nan)
