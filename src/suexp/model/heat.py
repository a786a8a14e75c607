"""An encoder of a block of a picture, what lies around it, and a decoder."""

from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.extrapolator.base import Corner, Extrapolator
from suexp.nn.conv import Conv2d
from suexp.nn.conv_encoder import ConvEncoder, pictures, side_of


class Heat(nn.Module, Component):
    r"""$\hat x = D(E(f(x_{block})))$: encoder f, extrapolator E, decoder D of pixels.

    The encoder reads the pixels of the block and nothing else, see `ConvEncoder`; the extrapolator
    goes on from its features to the whole grid of cells, and the decoder,
    $D = \mathrm{shuffle}(W_2\,\mathrm{relu}(W_1 u))$, turns each cell into stride x stride pixels.
    It sees the cell alone, so that only the extrapolator can go beyond the block, or
    ``decoder_context`` neighbours on each side in both of its layers. Shapes: pictures flat
    (b, channels * side^2), the channels first; features (b, dim, side/stride, side/stride).

    Post: https://kexue.fm/archives/9359. Paper: Chen et al., Self-Supervised Learning based on Heat
    Equation, arXiv:2211.13228 (with Mobile-Former as the encoder).

    Args:
        input_dim: numbers of a picture.
        extrapolator: E.
        dim: channels of a cell.
        width: channels of the encoder's first layer.
        num_layers: of the encoder.
        stride: pixels between cells.
        channels: of the pictures.
        decoder_context: neighbours that the decoder sees.

    Raises:
        ValueError: no square picture, a side that the stride does not divide, a size below 1.
    """

    provides: ClassVar[set[str]] = {"block_reconstruction", "context if decoder_context"}
    needs: ClassVar[dict[str, str]] = {
        "images": "it reads square images; use data=plane_waves, digits or idx",
        "blocks": "it goes on from a block of a picture; use task=heat, or "
        "model=conv_classifier for labels",
    }

    def __init__(
        self,
        input_dim: int,
        extrapolator: Extrapolator,
        dim: int = 64,
        width: int = 32,
        num_layers: int = 3,
        stride: int = 2,
        channels: int = 1,
        decoder_context: int = 0,
    ) -> None:
        at_least(0, most=8, decoder_context=decoder_context)
        super().__init__()
        self.encoder = ConvEncoder(channels, dim, width, num_layers, stride)
        side = side_of(input_dim, channels)
        if side % stride:
            raise ValueError(f"a side of {side} pixels is no multiple of model.stride={stride}")
        self.grid, self.stride, self.channels = side // stride, stride, channels
        self.extrapolator = extrapolator
        seen: Any = {"kernel_size": 2 * decoder_context + 1, "padding": decoder_context}
        self.decoder = nn.Sequential(
            Conv2d(dim, 2 * dim, **seen),
            nn.ReLU(),
            Conv2d(2 * dim, channels * stride**2, **seen),
            nn.PixelShuffle(stride),
        )

    def encode(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b c g g"]:
        """Return the features of whole pictures."""
        features: Tensor = self.encoder(pictures(x, self.channels))
        return features

    def features(
        self, x: Float[Tensor, "b d"], corner: Corner, block: int
    ) -> Float[Tensor, "b c g g"]:
        """Return the features of all cells, as they follow from those of a block.

        Args:
            x: the pictures.
            corner: the block's first cell, (row, column).
            block: its side in cells.
        """
        top, left = (self.stride * first for first in corner)
        pixels = self.stride * block
        seen = pictures(x, self.channels)[..., top : top + pixels, left : left + pixels]
        found: Tensor = self.extrapolator(self.encoder(seen), corner, (self.grid, self.grid))
        return found

    def forward(self, x: Float[Tensor, "b d"], corner: Corner, block: int) -> Float[Tensor, "b d"]:
        """Return the pictures, as they follow from a block; see `features`."""
        decoded: Tensor = self.decoder(self.features(x, corner, block))
        return decoded.flatten(1)
