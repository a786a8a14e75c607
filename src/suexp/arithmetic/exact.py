"""Multiplication."""

from jaxtyping import Float
from torch import Tensor, nn

from suexp.arithmetic.base import Arithmetic


class Exact(Arithmetic):
    r"""$x \odot y = xy$, as the machine rounds it: what every network does by itself.

    Shapes: factors and products (...), sums (rows, outputs).

    Reference: IEEE 754-2019, https://doi.org/10.1109/IEEESTD.2019.8766229; the baseline of
    https://kexue.fm/archives/7991.

    Example:
        >>> import torch
        >>> from suexp.arithmetic import Exact
        >>> Exact().multiply(torch.tensor([1.5]), torch.tensor([1.5]))
        tensor([2.2500])
    """

    def __init__(self) -> None:
        super().__init__("exact")

    def multiply(self, x: Float[Tensor, "*#a"], y: Float[Tensor, "*#a"]) -> Float[Tensor, "..."]:
        """Return the products."""
        return x * y

    def sums(self, x: Float[Tensor, "r i"], w: Float[Tensor, "o i"]) -> Float[Tensor, "r o"]:
        """Return their sums."""
        return x @ w.T

    def attach(self, model: nn.Module) -> None:
        """Leave the network as it is."""
