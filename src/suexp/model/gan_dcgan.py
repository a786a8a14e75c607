"""Generator and critic as convolutional networks."""

import itertools
import math
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.nn.linear import Linear


class DCGenerator(nn.Module):
    r"""From z by a linear map to (8w, s, s), then three doublings by transposed convolutions.

    Channels 8w, 4w, 2w, w, each after a BatchNorm and a ReLU, then a 3 x 3 convolution and tanh;
    s is a side's eighth, rounded up, and what is too much is cut off evenly.

    Args:
        latent_dim: size of z.
        channels: of the images.
        side: of the images.
        width: w.
    """

    def __init__(self, latent_dim: int, channels: int, side: int, width: int) -> None:
        super().__init__()
        self.side, self.start = side, -(-side // 8)
        sizes = [8 * width, 4 * width, 2 * width, width]
        self.first = Linear(latent_dim, sizes[0] * self.start**2)
        layers: list[nn.Module] = [nn.BatchNorm2d(sizes[0]), nn.ReLU()]
        for old, new in itertools.pairwise(sizes):
            layers += [nn.ConvTranspose2d(old, new, 4, 2, 1), nn.BatchNorm2d(new), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(sizes[-1], channels, 3, 1, 1), nn.Tanh())

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b d"]:
        """Return the images of these latent vectors, flat."""
        images = self.layers(self.first(z).unflatten(1, (-1, self.start, self.start)))
        low = (8 * self.start - self.side) // 2
        return images[:, :, low : low + self.side, low : low + self.side].flatten(1)


class DCCritic(nn.Module):
    r"""Convolutions 3 x 3 and 4 x 4 with stride 2 by turns, leaky ReLUs of 0.1, a linear map.

    Channels w; 2w, 2w; 4w, 4w; 8w, 8w. There are no norms: a score must depend on its image alone.

    Args:
        channels: of the images.
        side: of the images.
        width: w.
        bias: whether the layers have biases.
    """

    def __init__(self, channels: int, side: int, width: int, bias: bool) -> None:
        super().__init__()
        self.shape = (channels, side, side)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, 1, 1, bias=bias)]
        layers.append(nn.LeakyReLU(0.1))
        for scale in (1, 2, 4):
            old, new = scale * width, 2 * scale * width
            layers += [nn.Conv2d(old, new, 4, 2, 1, bias=bias), nn.LeakyReLU(0.1)]
            layers += [nn.Conv2d(new, new, 3, 1, 1, bias=bias), nn.LeakyReLU(0.1)]
            side //= 2
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.last = Linear(8 * width * side**2, 1, bias=bias)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Return the scores of these images."""
        return self.last(self.layers(x.view(-1, *self.shape))).squeeze(-1)


class GanDCGAN(nn.Module, Component):
    r"""A convolutional generator $x = G(z)$ and critic $D(x)$ for square images.

    Shapes: latent z (b, latent_dim), images flat (b, channels * side * side) in [-1, 1], scores
    (b,). At a side of 32, 3 channels and width 64 it is the network of the papers' CIFAR-10 runs.

    Weights are normal with deviation init_std, biases 0. The critic has LeakyReLUs and no norms, so
    that it is piecewise linear and its gradient at an image is that image's own. See
    https://kexue.fm/archives/8757.

    References: Radford et al., arXiv:1511.06434; Miyato et al., arXiv:1802.05957, table 3; Wu et
    al., arXiv:2109.02235.

    Args:
        input_dim: numbers in an image.
        latent_dim: size of z; 128 as in the paper.
        channels: 1 for gray images, 3 for colours (first in the flat image).
        width: channels of the widest layers in space, w.
        bias: whether the critic has biases; the generator always has.
        init_std: deviation of the weights; 0.02 as in the DCGAN paper.

    Raises:
        ValueError: input_dim is not a number of channels times a square of side 8 or more; a size
            that is too small.
    """

    provides: ClassVar[set[str]] = {"critic"}
    needs: ClassVar[dict[str, str]] = {
        "adversarial": "a generator and its critic are trained against each other; "
        "use task=adversarial",
        "images": "it makes square images; use data=digits with range=symmetric, or model=gan_mlp",
    }

    def __init__(
        self,
        input_dim: int,
        latent_dim: int = 128,
        channels: int = 1,
        width: int = 64,
        bias: bool = True,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        if min(latent_dim, channels, width) < 1 or not init_std > 0:
            raise ValueError(
                f"latent_dim {latent_dim}, channels {channels} and width {width} must be at least "
                f"1, init_std {init_std} above 0"
            )
        side = math.isqrt(input_dim // channels)
        if channels * side**2 != input_dim or side < 8:
            raise ValueError(
                f"{input_dim} numbers are no square image of {channels} channels and side 8 or "
                "more; set model.channels, or use model=gan_mlp"
            )
        self.latent_dim = latent_dim
        self.generator = DCGenerator(latent_dim, channels, side, width)
        self.critic: nn.Module = DCCritic(channels, side, width, bias)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, 0.0, init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, " b"]:
        """Return the critic's scores of generated images."""
        return self.critic(self.generator(z))
