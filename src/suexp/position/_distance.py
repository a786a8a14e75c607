"""What the position codes that penalise distance share."""

from jaxtyping import Int
from torch import Tensor


def distances(query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]) -> Int[Tensor, "*b 1 n m"]:
    """Return $|i - j|$, the same for every head."""
    return (query[..., :, None] - key[..., None, :]).abs().unsqueeze(-3)
