"""The angles that sinusoidal and rotary positions share."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def angles(positions: Int[Tensor, "*b n"], dim: int, base: float) -> Float[Tensor, "*b n half"]:
    r"""Return $t\,\theta_i$ with $\theta_i = base^{-2i/dim}$, i = 0 .. dim/2 - 1.

    Args:
        positions: t.
        dim: even.
        base: 10000 in the papers.
    """
    # In float64 where there is one: at t = 1e5 a float32 angle is off by 0.005.
    real = torch.float32 if positions.device.type == "mps" else torch.float64
    exponent = torch.arange(0, dim, 2, dtype=real, device=positions.device) / -dim
    return positions[..., None] * base**exponent
