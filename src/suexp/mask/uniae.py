"""Two texts in one row, of which the second sees one place of the first; it has no YAML."""

from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.independent import Independent


class UniAE(Independent):
    r"""$A_{ij} = A^{\mathrm{indep}}_{ij} \lor [j = 0]$: the first column is open to all.

    What the target learns of the source passes through that one place, whose states are a code.
    Shapes: query positions (n, 1), key positions (1, m), table (n, m).

    Reference: https://kexue.fm/archives/8475 (``uniae_mask`` of the author's code).

    Args:
        half: the source's tokens, padding included.

    Raises:
        ValueError: no token.
    """

    def allowed(self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]) -> Bool[Tensor, "n m"]:
        """Return True for the first key, too."""
        return super().allowed(query, key) | (key == 0)
