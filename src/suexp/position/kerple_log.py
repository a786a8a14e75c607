"""KERPLE's logarithmic penalty of distance, trained."""

import math

import torch
from torch import Tensor

from suexp.position._kerple import Kerple


class KerpleLog(Kerple):
    r"""Adds $-r_1 \log(1 + r_2 |i - j|)$ to the score of query i and key j, two numbers a head.

    Shapes: bias (h, n, m), $r_1$ and $r_2$ (h). All layers share them. No longest text; under a
    causal mask this is the paper's form, in an encoder its symmetric one. As in the authors' code
    $r_1 \sim U(0, 2)$, $r_2 \sim U(0, 1)$, and both are kept above 0.01.

    Reference: Chi et al., KERPLE, arXiv:2205.09921; compared with local attention in
    https://kexue.fm/archives/9431.

    Args:
        num_heads: h.

    Raises:
        ValueError: num_heads below 1.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__(num_heads, (2.0, 1.0), math.inf)

    def penalty(self, r1: Tensor, r2: Tensor, distance: Tensor) -> Tensor:
        """Return $r_1 log(1 + r_2 |i - j|)$."""
        return r1 * torch.log1p(r2 * distance)
