"""The contract of every extrapolator."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least

Corner = tuple[int, int]


class Extrapolator(nn.Module, Component):
    r"""From features of a block of h x w cells to those of the whole grid of H x W: $u = E(f)$.

    Every cell starts from the nearest one of the block, $u_0(y, x) = f(\bar y, \bar x)$ with the
    coordinates clamped to it, and knows how many cells away that is, $(k_y, k_x)$, signed. Cells of
    the block stay as they are, bit for bit. Shapes: features (b, dim, h, w), the grid's
    (b, dim, H, W), with the block's first cell at ``corner`` (row, column).

    Post: https://kexue.fm/archives/9359. Paper: Chen et al., arXiv:2211.13228.

    Args:
        dim: channels of a cell.
    """

    needs: ClassVar[dict[str, str]] = {
        "blocks": "it goes on from a block of a picture's features; use task=heat"
    }

    def __init__(self, dim: int) -> None:
        super().__init__()
        at_least(1, dim=dim)
        self.dim = dim

    def forward(
        self, features: Float[Tensor, "b c h w"], corner: Corner, grid: tuple[int, int]
    ) -> Float[Tensor, "b c H W"]:
        """Return the features of the whole grid."""
        rows, columns = (
            torch.arange(size, device=features.device).clamp(first, first + seen - 1)
            for size, first, seen in zip(grid, corner, features.shape[2:], strict=True)
        )
        start = features[:, :, rows - corner[0]][:, :, :, columns - corner[1]]
        away_y = torch.arange(grid[0], device=features.device) - rows
        away_x = torch.arange(grid[1], device=features.device) - columns
        seen = (away_y == 0)[:, None] & (away_x == 0)
        return torch.where(seen, start, self.moved(start, away_y, away_x).to(start.dtype))

    def moved(
        self, start: Float[Tensor, "b c H W"], away_y: Tensor, away_x: Tensor
    ) -> Float[Tensor, "b c H W"]:
        """Return u of every cell; what it says of the block's own does not count.

        Args:
            start: features of the nearest seen cells.
            away_y: rows between a cell of each row and the nearest seen one, (H,), integers.
            away_x: the same of columns, (W,).
        """
        raise NotImplementedError

    def penalty(self) -> Tensor | float:
        """Return what is added to the loss."""
        return 0.0

    def figures(self, steps: int) -> dict[str, float]:
        """Return what there is to know of it, by metric.

        Args:
            steps: the most cells that are moved along an axis.
        """
        del steps
        return {}
