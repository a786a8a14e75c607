"""Unseen cells that are left to the decoder."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.extrapolator.base import Extrapolator
from suexp.nn.linear import Linear


class MaskToken(Extrapolator):
    r"""$u(y, x) = t + P (k_y, k_x)$: an unseen cell has one learned vector, and its place.

    As masked autoencoders have it, with the place relative to the block in units of the grid's
    sides. A cell's own vector says nothing of the picture: the decoder must see its neighbours.
    Shapes: (b, dim, h, w) to (b, dim, H, W), token t (dim,), P (dim, 2).

    Post: https://kexue.fm/archives/9359, as its rival. Reference: He et al., Masked Autoencoders
    Are Scalable Vision Learners, arXiv:2111.06377.

    Args:
        dim: channels of a cell.
    """

    needs: ClassVar[dict[str, str]] = {
        "blocks": "it goes on from a block of a picture's features; use task=heat",
        "context": "the decoder must see the neighbours of a masked cell; use "
        "model.decoder_context=1",
    }

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.token = nn.Parameter(0.02 * torch.randn(dim))
        self.place = Linear(2, dim, bias=False)

    def moved(
        self, start: Float[Tensor, "b c H W"], away_y: Tensor, away_x: Tensor
    ) -> Float[Tensor, "b c H W"]:
        """Return u."""
        places = torch.stack(
            torch.meshgrid(away_y / len(away_y), away_x / len(away_x), indexing="ij"), -1
        )
        cells = self.token + self.place(places.to(self.token))
        return cells.movedim(-1, 0).expand_as(start)
