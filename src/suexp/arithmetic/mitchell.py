"""Mitchell's approximate multiplication: one addition of integers."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.arithmetic._bits import layout
from suexp.arithmetic._logarithm import multiply
from suexp.arithmetic._sums import added, guarded
from suexp.arithmetic.base import Arithmetic
from suexp.errors import at_least, one_of


class Mitchell(Arithmetic):
    r"""$x \odot y = 2^{m+n}(1 + a + b)$ of $x = 2^m(1+a)$, $y = 2^n(1+b)$ and $a + b < 1$.

    From $a + b \ge 1$ on the carry makes it $2^{m+n+1}(a + b)$. The bits of a number are its
    logarithm, with $\log_2(1 + a) \approx a$, so this is bits(x) + bits(y) - bits(1), read as a
    number again. It is never above xy and at most a ninth below, at a = b = 1/2; exact where a
    factor is a power of two. Of evenly spread a and b the mean is 26/27 of the true one, and the
    sign is exact. Signed sums have no such bound: they cancel, the errors need not.

    16-bit numbers are added in float32; their products have the same bits as in their own type. In
    sums each row is first brought to size 1, exactly, so that no product leaves the range; a
    product below the smallest normal number, which alone would be 0, then counts. Rows that hold
    no number, or an infinite one, give nan.

    Relative to the papers: Mitchell's is of integers; Mogami's networks, to which the post refers,
    multiply so in forward and backward pass, as here, also in norms and the optimizer.

    Shapes: factors and products (...), sums (rows, outputs).

    Post: https://kexue.fm/archives/7991. Papers: Mitchell, Computer Multiplication and Division
    Using Binary Logarithms, https://doi.org/10.1109/TEC.1962.5219391; Mogami, Deep Neural Network
    Training without Multiplications, arXiv:2012.03458. A positive offset: Luo and Sun, Addition is
    All You Need, arXiv:2410.00907.

    Args:
        backward: ``same``, gradients multiply so, too; ``exact``.
        mode: ``safe``; ``naive``, without guards: what leaves the range comes back with another
            sign, and 0 x 3 is 2e-38.
        offset: added to the sum, as a share of bits(2) - bits(1): 1/16, say, lifts all products.
        scale: factor of a layer's sums and of those in its gradients; 27/26 undoes the mean loss.

    Raises:
        ValueError: a value out of range.

    Example:
        >>> import torch
        >>> from suexp.arithmetic import Mitchell
        >>> Mitchell().multiply(torch.tensor([1.5, 1.5, -3.0]), torch.tensor([1.5, 2.0, 0.0]))
        tensor([2., 3., -0.])
    """

    def __init__(
        self,
        backward: Literal["same", "exact"] = "same",
        mode: Literal["safe", "naive"] = "safe",
        offset: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__(backward)
        one_of(("safe", "naive"), mode=mode)
        at_least(0, most=0.25, offset=offset)
        if not 0 < scale < 2:
            raise ValueError(f"arithmetic.scale must be above 0 and below 2, not {scale}")
        self.mode, self.offset, self.scale = mode, offset, scale

    def multiply(self, x: Float[Tensor, "*#a"], y: Float[Tensor, "*#a"]) -> Float[Tensor, "..."]:
        """Return the products; see `suexp.arithmetic._logarithm.multiply`."""
        return multiply(x, y, self._shift(x.dtype), self.mode == "safe")

    def _shift(self, dtype: torch.dtype) -> int:
        return round(self.offset * 2 ** layout(dtype).mantissa)

    def sums(self, x: Float[Tensor, "r i"], w: Float[Tensor, "o i"]) -> Float[Tensor, "r o"]:
        """Return the sums, times the scale."""
        wide = torch.promote_types(x.dtype, torch.float32)
        found = self._sums(x.to(wide), w.to(wide))
        return (found if self.scale == 1 else self.scale * found).to(x.dtype)

    def _sums(self, x: Tensor, w: Tensor) -> Tensor:
        offset = self._shift(x.dtype)
        if self.mode == "naive":
            return added(x, w, offset)
        found = guarded(x, w, offset)
        return super().sums(x, w) if found is None else found
