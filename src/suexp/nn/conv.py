"""Convolutions as products of matrices, where another arithmetic is wanted."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from suexp.nn.linear import Multiplies


class Conv2d(Multiplies, nn.Conv2d):
    r"""$y_{op} = \sum_{c,\delta} W_{oc\delta}\, x_{c,p+\delta} + b_o$, as `torch.nn.Conv2d`.

    With another ``product`` the neighbourhoods of all places are unfolded into rows, each of which
    is multiplied by the matrix of the filters. Shapes: x (b, c, h, w), y (b, o, h', w').

    Reference: Chellapilla et al., High Performance Convolutional Neural Networks for Document
    Processing, https://inria.hal.science/inria-00112631.

    Example:
        >>> import torch
        >>> from suexp.nn.conv import Conv2d
        >>> Conv2d(1, 2, 3, padding=1)(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 2, 8, 8])
    """

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        """Return y.

        Raises:
            ValueError: with another product, groups or padding by other numbers than zeros.
        """
        if self.product is F.linear:
            return super().forward(x)
        if self.groups > 1 or self.padding_mode != "zeros" or isinstance(self.padding, str):
            raise ValueError(
                "a convolution with groups, or padded by name or by other numbers than zeros, "
                "multiplies exactly only"
            )
        places = F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)
        y = self.product(places.mT, self.weight.flatten(1), self.bias).mT
        sizes = zip(
            x.shape[2:], self.padding, self.dilation, self.kernel_size, self.stride, strict=True
        )
        shape = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in sizes]
        return y.reshape(len(x), self.out_channels, *shape)
