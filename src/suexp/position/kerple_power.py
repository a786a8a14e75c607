"""KERPLE's power of distance, trained."""

from torch import Tensor

from suexp.position._kerple import Kerple


class KerplePower(Kerple):
    r"""Adds $-r_1 |i - j|^{r_2}$ to the score of query i and key j, two numbers a head.

    Shapes: bias (h, n, m), $r_1$ and $r_2$ (h). All layers share them. No longest text; under a
    causal mask this is the paper's form, in an encoder its symmetric one. As in the authors' code
    $r_1 \sim U(0, 1)$, $r_2 \sim U(0, 2)$, with $r_1 \ge 0.01$ and $0.01 \le r_2 \le 2$ throughout.
    With $r_2 = 1$ and fixed slopes it is `Alibi`.

    Reference: Chi et al., KERPLE, arXiv:2205.09921; compared with local attention in
    https://kexue.fm/archives/9431.

    Args:
        num_heads: h.

    Raises:
        ValueError: num_heads below 1.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__(num_heads, (1.0, 2.0), 2.0)

    def penalty(self, r1: Tensor, r2: Tensor, distance: Tensor) -> Tensor:
        """Return $r_1 |i - j|^(r_2)$."""
        # 0 to a power has 0 times log 0 in its derivative: leave the diagonal out of it.
        return (r1 * distance.clamp_min(1) ** r2).masked_fill(distance == 0, 0.0)
