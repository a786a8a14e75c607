import torch

from suexp.nn.linear import FusedLinear


def test_blocks_are_maps_of_one_input() -> None:
    layer, x = FusedLinear(3, [4, 4], bias=False), torch.randn(5, 3)
    first, second = layer.weight.chunk(2)
    torch.testing.assert_close(layer(x), torch.cat((x @ first.T, x @ second.T), -1))
