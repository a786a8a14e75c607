"""Convolutions that make a map of features of a picture."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from suexp.errors import at_least
from suexp.nn.conv import Conv2d

GROUPS = 4


class ConvEncoder(nn.Sequential):
    r"""$f = W_n * h_{n-1}$, $h_l = \mathrm{relu}(\mathrm{GN}(W_l * h_{l-1}))$, 3 x 3 all of them.

    The first convolution has the stride, so that a cell of f stands for stride x stride pixels;
    GroupNorm has four groups and no running statistics, which would differ between blocks of a
    picture and whole ones. Shapes: pictures (b, channels, H, W), f (b, dim, H/stride, W/stride).

    Reference: Wu and He, Group Normalization, arXiv:1803.08494.

    Args:
        channels: of the pictures.
        dim: channels of f and of the hidden layers but the first.
        width: channels of the first.
        num_layers: convolutions.
        stride: pixels between cells.

    Raises:
        ValueError: a size below 1; dim or width that four groups do not divide.

    Example:
        >>> import torch
        >>> from suexp.nn.conv_encoder import ConvEncoder
        >>> ConvEncoder(1, dim=8, width=4)(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 8, 8, 8])
    """

    def __init__(
        self, channels: int, dim: int = 64, width: int = 32, num_layers: int = 3, stride: int = 2
    ) -> None:
        at_least(1, channels=channels, dim=dim, width=width, stride=stride)
        at_least(2, most=100, num_layers=num_layers)
        if dim % GROUPS or width % GROUPS:
            raise ValueError(f"dim={dim} and width={width} must be multiples of {GROUPS}")
        layers: list[nn.Module] = []
        size = channels
        for layer in range(num_layers):
            wide = dim if layer else width
            layers.append(Conv2d(size, wide, 3, 1 if layer else stride, 1))
            if layer < num_layers - 1:
                layers += [nn.GroupNorm(GROUPS, wide), nn.ReLU()]
            size = wide
        super().__init__(*layers)


def side_of(input_dim: int, channels: int) -> int:
    """Return the side of square pictures that are given as vectors.

    Raises:
        ValueError: they are none.
    """
    side = math.isqrt(input_dim // channels)
    if channels * side**2 != input_dim:
        raise ValueError(
            f"{input_dim} numbers are no square image of {channels} channels; set model.channels"
        )
    return side


def pictures(x: Float[Tensor, "b d"], channels: int) -> Float[Tensor, "b c s s"]:
    """Return vectors as square pictures, the channels first."""
    side = side_of(x.shape[1], channels)
    return x.view(-1, channels, side, side)
