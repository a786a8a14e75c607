"""A non-linear rival of the linear law."""

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.errors import at_least
from suexp.extrapolator.base import Extrapolator
from suexp.nn.linear import Linear


class MLP(Extrapolator):
    r"""$u(y, x) = f + W_2\,\mathrm{relu}(W_1 [f, k_y, k_x] + b_1) + b_2$, f of the nearest cell.

    Offsets k are in units of the grid's sides. Shapes: (b, dim, h, w) to (b, dim, H, W).

    Post: https://kexue.fm/archives/9359, as its rival.

    Args:
        dim: channels of a cell.
        hidden: size of the hidden layer.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__(dim)
        at_least(1, hidden=hidden)
        self.first, self.second = Linear(dim + 2, hidden), Linear(hidden, dim)

    def moved(
        self, start: Float[Tensor, "b c H W"], away_y: Tensor, away_x: Tensor
    ) -> Float[Tensor, "b c H W"]:
        """Return u."""
        cells = start.movedim(1, -1)
        offsets = torch.stack(
            [
                (away_y[:, None] / len(away_y)).expand(cells.shape[1:3]),
                (away_x / len(away_x)).expand(cells.shape[1:3]),
            ],
            -1,
        )
        known = torch.cat([cells, offsets.to(cells).expand(len(cells), -1, -1, -1)], -1)
        return (cells + self.second(self.first(known).relu())).movedim(-1, 1)
