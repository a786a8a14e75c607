"""Numbers that are trained within bounds."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class _Clamp(torch.autograd.Function):
    """Clamp, whose gradient beyond a bound still leads back: only what leads farther out is 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        """Return x within the bounds."""
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient, 0 where descent would leave the bounds."""
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        outwards = ((x <= low) & (grad > 0)) | ((x >= high) & (grad < 0))
        return grad.masked_fill(outwards, 0.0), None, None


class Bounded(nn.Module):
    """Trained numbers that stay within bounds, and leave a bound when their gradient says so.

    Args:
        value: where they start; put within the bounds.
        low: the least.
        high: the greatest.
    """

    def __init__(self, value: Float[Tensor, " h"], low: float, high: float = float("inf")) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.value = nn.Parameter(value.clamp(low, high))

    def forward(self) -> Float[Tensor, " h"]:
        """Return the numbers, in at least float32."""
        value = self.value.to(torch.promote_types(self.value.dtype, torch.float32))
        return _Clamp.apply(value, self.low, self.high)  # type: ignore[no-untyped-call]
