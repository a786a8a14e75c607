"""Linear layers whose type tells the initialisation what they are for."""

from torch import nn


class FusedLinear(nn.Linear):
    r"""$y = (W_1 x, \dots, W_k x)$: several maps of one input in one product.

    Each block is initialised by itself, since a rule that reads the output size means the block's.
    Shapes: x (..., in_features), y (..., num_blocks * block_features).

    Args:
        in_features: size of the input.
        block_features: size of one block's output.
        num_blocks: k.
        bias: whether there is a bias.
    """

    def __init__(
        self, in_features: int, block_features: int, num_blocks: int, bias: bool = True
    ) -> None:
        super().__init__(in_features, block_features * num_blocks, bias)
        self.num_blocks = num_blocks


class ResidualLinear(nn.Linear):
    """$y = Wx + b$ that ends a residual branch: some rules make it smaller the more there are."""
