"""Linear layers whose type tells the initialisation what they are for."""

from collections.abc import Sequence

from torch import nn


class FusedLinear(nn.Linear):
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
        self.blocks = list(blocks)


class ResidualLinear(nn.Linear):
    """$y = Wx + b$ that ends a residual branch: some rules make it smaller the more there are."""
