"""Rotary positions whose scores fade with distance."""

import math

import torch
from torch import Tensor

from suexp.position.rope import Rope, _Turn

_MOST = 80.0  # the largest logarithm of a factor; float32 and bfloat16 end at 88


class Xpos(Rope):
    r"""`Rope`, with each pair's share of the score multiplied by $\zeta_i^{(m - n)/b}$.

    Query m is multiplied by $\zeta_i^{m/b}$ and key n by $\zeta_i^{-n/b}$, with
    $\zeta_i = \frac{2i/d + \gamma}{1 + \gamma}$ for pair i = 0 .. d/2 - 1: fast pairs fade soonest.
    Scores of far keys go to 0, not to $-\infty$: it is not local without a window. Shapes: q and k
    (b, h, n, d). Factors are in float32.

    Reference: Sun et al., A Length-Extrapolatable Transformer, arXiv:2212.10554; compared with
    local attention in https://kexue.fm/archives/9431.

    Args:
        head_dim: d, even.
        base: of the angles; 10000 in the paper.
        gamma: $\gamma$; 0.4 as in the paper. The larger, the less fades; infinite: `Rope`.
        scale_base: b; 512 as in the paper.
        shared: one $\zeta$, the mean over pairs, for all of them.
        interleaved: as in `Rope`.

    Raises:
        ValueError: as in `Rope`; a gamma or scale_base that is not above 0; when called, a text so
            long that a factor would overflow (32,695 tokens with the defaults).
    """

    refuses = {
        "later_keys": "for keys after the query its factors grow without bound; use position=rope, "
        "or mask=causal in a model that looks back only"
    }

    def __init__(
        self,
        head_dim: int,
        base: float = 10000.0,
        gamma: float = 0.4,
        scale_base: float = 512.0,
        shared: bool = False,
        interleaved: bool = True,
    ) -> None:
        super().__init__(head_dim, base, interleaved)
        if not gamma > 0:
            raise ValueError(f"gamma must be above 0, not {gamma}")
        if not scale_base > 0:
            raise ValueError(f"scale_base must be above 0, not {scale_base}")
        self.gamma, self.scale_base, self.shared = gamma, scale_base, shared
        if math.isinf(gamma):
            zeta = torch.ones(head_dim // 2, dtype=torch.float64)
        else:
            zeta = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
            zeta = (zeta + gamma) / (1 + gamma)
        # Not a buffer: a model in half precision must not round it.
        self.log_zeta = (zeta.mean().expand_as(zeta) if shared else zeta).log()
        steepest = -float(self.log_zeta.min())
        self.max_length = int(_MOST * scale_base / steepest) if steepest else None

    def _turns(self, positions: Tensor, real: torch.dtype) -> tuple[_Turn, _Turn]:
        """Return cosines and sines times each place's factor: to turn by them scales as well."""
        (cos, sin), _ = super()._turns(positions, real)
        if self.log_zeta.device != positions.device:
            self.log_zeta = self.log_zeta.to(positions.device)
        exponent = (positions[..., None].to(real) / self.scale_base) * self.log_zeta.to(real)
        if positions.ndim > 1:
            exponent = exponent.unsqueeze(-3)
        up, down = exponent.exp(), (-exponent).exp()
        return (cos * up, sin * up), (cos * down, sin * down)
