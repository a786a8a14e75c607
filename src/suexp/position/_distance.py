"""What the position codes that penalise distance share."""

from jaxtyping import Float, Int
from torch import Tensor


def distances(query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]) -> Float[Tensor, "*b 1 n m"]:
    """Return $|i - j|$, the same for every head, in float32, which is exact up to 2^24."""
    return (query.float()[..., :, None] - key.float()[..., None, :]).abs_().unsqueeze(-3)
