"""Norms by one moment of the batch, to take batch normalisation apart."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.errors import at_least


class BatchMoment(nn.Module):
    r"""$y = g \odot \mathrm{changed}(x, s) + b$ with a statistic s of each feature over the batch.

    All leading axes count as the batch. Evaluation uses a running average of s, whose newest batch
    has the weight ``momentum``. All is computed in float32 at least, and given back in x's type.

    Attributes:
        option: what `conf/norm` calls it.
        start: s before the first batch.
    """

    option: ClassVar[str]
    start: ClassVar[float]
    running: Tensor

    def __init__(self, dim: int, momentum: float, affine: bool, detach_stats: bool) -> None:
        super().__init__()
        at_least(1, dim=dim)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum={momentum} must lie in [0, 1]")
        self.dim, self.momentum = dim, momentum
        self.affine, self.detach_stats = affine, detach_stats
        self.weight = nn.Parameter(torch.ones(dim)) if affine else None
        self.bias = nn.Parameter(torch.zeros(dim)) if affine else None
        self.register_buffer("running", torch.full((dim,), self.start))

    def statistic(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, " d"]:
        """Return s of a batch."""
        raise NotImplementedError

    def changed(self, rows: Float[Tensor, "b d"], s: Float[Tensor, " d"]) -> Float[Tensor, "b d"]:
        """Return the rows, as the statistic says."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Return y."""
        rows = x.reshape(-1, x.shape[-1]).to(self.running.dtype)
        s = self.running
        if self.training:
            if len(rows) < 2:
                raise ValueError(
                    f"norm={self.option} needs more than one row in training; use norm=layer"
                )
            s = self.statistic(rows)
            with torch.no_grad():
                self.running.lerp_(s, self.momentum)
            if self.detach_stats:
                s = s.detach()
        y = self.changed(rows, s)
        if self.weight is not None and self.bias is not None:
            y = torch.addcmul(self.bias, y, self.weight)
        return y.view_as(x).to(x.dtype)
