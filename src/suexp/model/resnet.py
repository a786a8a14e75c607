"""Residual convolutional network for small images."""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least, some
from suexp.nn.conv import Conv2d
from suexp.nn.conv_encoder import side_of
from suexp.nn.linear import Linear


class BasicBlock(nn.Module):
    r"""$\mathrm{relu}(x + \mathrm{BN}(W_2 * \mathrm{relu}(\mathrm{BN}(W_1 * x))))$, 3 x 3.

    Where the size changes x is brought to it by a 1 x 1 convolution and a BatchNorm.

    Args:
        channels: of the input.
        width: channels of the output.
        stride: of the first convolution.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = Conv2d(channels, width, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            self.skip = nn.Sequential(
                Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Return the images' features."""
        hidden = self.first_norm(self.first(x)).relu()
        return (self.second_norm(self.second(hidden)) + self.skip(x)).relu()


class ResNet(nn.Module, Component):
    r"""Residual blocks $h_l = \mathrm{relu}(S_l h_{l-1} + f_l(h_{l-1}))$ on square images.

    $h_0$ is a 3 x 3 convolution with BatchNorm and relu, f_l two of them (the last without relu),
    S_l the identity or, where the size changes, a 1 x 1 convolution; the logits are a linear map of
    the last block's mean over places. Every stage of blocks after the first halves the side and
    doubles the channels. With ``blocks`` [2, 2, 2, 2] and width 64 it is ResNet-18 as CIFAR's 32 x
    32 pixels have it: no stride and no pooling at the start. Shapes: images flat
    (b, channels * side * side), the channels first; logits (b, num_outputs).

    Convolutions are drawn as by He et al., arXiv:1502.01852, by their outputs.

    References: He et al., Deep Residual Learning for Image Recognition, arXiv:1512.03385; the
    re-test that https://kexue.fm/archives/7919 misses.

    Args:
        input_dim: numbers in an image.
        num_outputs: number of classes.
        blocks: residual blocks of each stage.
        width: channels of the first stage.
        channels: of the images: 1 for gray, 3 for colours.

    Raises:
        ValueError: an input that is no square image of so many channels, or too small for the
            stages; a size below 1.
    """

    needs: ClassVar[dict[str, str]] = {
        "images": "it reads square images; use data=digits, data=idx, or model=mlp for vectors"
    }

    def __init__(
        self,
        input_dim: int,
        num_outputs: int,
        blocks: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        channels: int = 1,
    ) -> None:
        super().__init__()
        some(blocks=blocks)
        at_least(1, most=MOST_LAYERS, blocks=blocks)
        at_least(1, width=width, channels=channels, num_outputs=num_outputs)
        side = side_of(input_dim, channels)
        if side < 2 ** (len(blocks) - 1):
            raise ValueError(
                f"{len(blocks)} stages halve a side of {side} to nothing; set model.blocks=[2,2]"
            )
        self.shape = (channels, side, side)
        self.first = Conv2d(channels, width, 3, 1, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        size = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(BasicBlock(size, width * 2**stage, stride))
                size = width * 2**stage
        self.layers = nn.Sequential(*layers)
        self.classifier = Linear(size, num_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b c"]:
        """Return the logits."""
        images = self.first_norm(self.first(x.view(-1, *self.shape))).relu()
        return self.classifier(F.adaptive_avg_pool2d(self.layers(images), 1).flatten(1))
