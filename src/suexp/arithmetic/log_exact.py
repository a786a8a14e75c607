"""Multiplication by the addition of logarithms."""

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.arithmetic.base import Arithmetic


class LogExact(Arithmetic):
    r"""$x \odot y = \pm 2^{\log_2 |x| + \log_2 |y|}$, 0 where a factor is.

    It tells what the detour through logarithms costs in rounding from what Mitchell's cheap
    logarithm costs: the sum of the logarithms keeps fewer digits the farther xy is from 1.

    Shapes: factors and products (...), sums (rows, outputs).

    Post: https://kexue.fm/archives/7991. Reference: Mitchell, Computer Multiplication and Division
    Using Binary Logarithms, https://doi.org/10.1109/TEC.1962.5219391.

    Args:
        backward: ``same``, gradients multiply so, too; ``exact``.

    Raises:
        ValueError: another word.

    Example:
        >>> import torch
        >>> from suexp.arithmetic import LogExact
        >>> LogExact().multiply(torch.tensor([1.5, -2.0, 0.0]), torch.tensor([1.5, 4.0, 3.0]))
        tensor([ 2.2500, -8.0000,  0.0000])
    """

    def multiply(self, x: Float[Tensor, "*#a"], y: Float[Tensor, "*#a"]) -> Float[Tensor, "..."]:
        """Return the products."""
        return x.sign() * y.sign() * torch.exp2(x.abs().log2() + y.abs().log2())
