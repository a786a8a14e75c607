"""Linear layers: the one place where models multiply by matrices."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Multiplies:
    """What multiplies its input by a matrix, and by what rule.

    Every linear layer of a model is one of these, and so is a model whose output layer is the table
    of its embedding: who wants another arithmetic replaces `product` in each of them.

    Attributes:
        product: takes x (..., n), a matrix (m, n) and a bias (m,) or None, and returns (..., m).
    """

    product: Callable[[Tensor, Tensor, Tensor | None], Tensor] = staticmethod(F.linear)


@contextmanager
def exact_products(model: nn.Module) -> Iterator[None]:
    """Let a model multiply exactly for a while: so its products can be counted as any model's."""
    own = {m: m.__dict__.pop("product") for m in model.modules() if "product" in m.__dict__}
    try:
        yield
    finally:
        for module, product in own.items():
            module.product = product


class Linear(Multiplies, nn.Linear):
    r"""$y = c\,W x + b$, as `torch.nn.Linear` where c = 1.

    An initialisation with ``parametrization=ntk`` keeps W at size 1 and gives c what would be the
    size of W otherwise; c belongs to the architecture, as the width does, and is in no state dict.
    Shapes: x (..., in_features), y (..., out_features).

    Reference: Jacot et al., Neural Tangent Kernel, arXiv:1806.07572;
    https://kexue.fm/archives/8620.

    Attributes:
        scales: c of each block of outputs, of which a plain layer has one.

    Example:
        >>> import torch
        >>> from suexp.nn.linear import Linear
        >>> layer = Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.ones_(layer.weight)
        >>> layer.scales = (0.5,)
        >>> layer(torch.tensor([1.0, 3.0]))
        tensor([2.], grad_fn=<MulBackward0>)
    """

    scales: tuple[float, ...] = (1.0,)

    @property
    def blocks(self) -> list[int]:
        """How many outputs each block has."""
        return [self.out_features]

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """Return y."""
        return self.by(x, self.weight)

    def by(self, x: Float[Tensor, "*b i"], weight: Float[Tensor, "o i"]) -> Float[Tensor, "*b o"]:
        """Return y with another matrix in the place of W."""
        return self._scaled(x, weight, self.bias, self.blocks, self.scales)

    def _scaled(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        blocks: Sequence[int],
        scales: Sequence[float],
    ) -> Tensor:
        if all(scale == 1 for scale in scales):
            return self.product(x, weight, bias)
        y = self.product(x, weight, None)
        if len({*scales}) == 1:
            y = y * scales[0]
        else:
            parts = zip(torch.split(y, list(blocks), -1), scales, strict=True)
            y = torch.cat([part * scale for part, scale in parts], -1)
        return y if bias is None else y + bias.to(y.dtype)


class FusedLinear(Linear):
    r"""$y = (W_1 x, \dots, W_k x)$: several maps of one input in one product.

    Each block is initialised by itself, since a rule that reads the output size means the block's.
    Shapes: x (..., in_features), y (..., sum of the blocks).

    Args:
        in_features: size of the input.
        blocks: size of each block's output.
        bias: whether there is a bias.
    """

    def __init__(self, in_features: int, blocks: Sequence[int], bias: bool = True) -> None:
        super().__init__(in_features, sum(blocks), bias)
        self._blocks = list(blocks)

    @property
    def blocks(self) -> list[int]:
        """How many outputs each block has."""
        return self._blocks

    def some(
        self, x: Float[Tensor, "*b i"], first: int = 0, end: int | None = None
    ) -> Float[Tensor, "*b o"]:
        """Return the outputs of the blocks from ``first`` to ``end``, and of no other."""
        blocks = self.blocks[first:end]
        rows = slice(start := sum(self.blocks[:first]), start + sum(blocks))
        bias = None if self.bias is None else self.bias[rows]
        scales = self.scales[first:end] if len(self.scales) > 1 else self.scales
        return self._scaled(x, self.weight[rows], bias, blocks, scales)


class ResidualLinear(Linear):
    """$y = c W x + b$ at the end of a residual branch: some rules shrink it with their number."""
