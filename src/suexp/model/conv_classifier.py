"""A classifier of pictures, or a probe of an encoder that others trained."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least, one_of
from suexp.nn.conv import Conv2d
from suexp.nn.conv_encoder import ConvEncoder, pictures, side_of
from suexp.nn.linear import Linear


class ConvClassifier(nn.Module, Component):
    r"""$\mathrm{logits} = W\,\mathrm{BN}(\bar f) + b$, $\bar f$ the mean of features over places.

    The encoder is that of `suexp.model.heat.Heat`, so that ``transform=copy
    transform.leave_out=[extrapolator,decoder,head,classifier]`` takes it over; with
    ``method=freeze method.freeze.train=head|classifier`` the rest is a probe. BN brings each
    feature to mean 0 and variance 1, by the training rows' running statistics in evaluation. With
    ``head=conv`` a block stands before the mean: $\bar f$ of $\mathrm{relu}(V * \mathrm{BN}(f))$,
    3 x 3. Shapes: pictures flat (b, channels * side^2), the channels first; logits
    (b, num_outputs).

    Post: https://kexue.fm/archives/9359. Reference: Alain and Bengio, Understanding intermediate
    layers using linear classifier probes, arXiv:1610.01644.

    Args:
        input_dim: numbers of a picture.
        num_outputs: number of classes.
        head: ``linear`` or ``conv``.
        dim: channels of a cell.
        width: channels of the encoder's first layer.
        num_layers: of the encoder.
        stride: pixels between cells.
        channels: of the pictures.

    Raises:
        ValueError: no square picture, an unknown head, a size below 1.
    """

    needs: ClassVar[dict[str, str]] = {
        "images": "it reads square images; use data=plane_waves, digits or idx"
    }

    def __init__(
        self,
        input_dim: int,
        num_outputs: int,
        head: Literal["linear", "conv"] = "linear",
        dim: int = 64,
        width: int = 32,
        num_layers: int = 3,
        stride: int = 2,
        channels: int = 1,
    ) -> None:
        one_of(("linear", "conv"), head=head)
        at_least(1, num_outputs=num_outputs)
        super().__init__()
        self.encoder = ConvEncoder(channels, dim, width, num_layers, stride)
        side_of(input_dim, channels)
        self.channels = channels
        block = [nn.BatchNorm2d(dim), Conv2d(dim, dim, 3, padding=1), nn.ReLU()]
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(dim)]
        self.head = nn.Sequential(*(block if head == "conv" else []), *pool)
        self.classifier = Linear(dim, num_outputs)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b c"]:
        """Return the logits."""
        return self.classifier(self.head(self.encoder(pictures(x, self.channels))))
