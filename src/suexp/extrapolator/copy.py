"""Features that do not change."""

from jaxtyping import Float
from torch import Tensor

from suexp.extrapolator.base import Extrapolator


class Copy(Extrapolator):
    r"""$u(y, x) = f(\bar y, \bar x)$: an unseen cell has the features of the nearest seen one.

    The linear law with A = B = 0, and nothing to learn. Shapes: (b, dim, h, w) to (b, dim, H, W).

    Post: https://kexue.fm/archives/9359, as its rival.

    Args:
        dim: channels of a cell.
    """

    def moved(
        self, start: Float[Tensor, "b c H W"], away_y: Tensor, away_x: Tensor
    ) -> Float[Tensor, "b c H W"]:
        """Return the features unchanged."""
        del away_y, away_x
        return start
