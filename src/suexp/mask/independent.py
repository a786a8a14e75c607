"""Two texts in one row that do not see each other; made for a batch, so it has no YAML."""

from jaxtyping import Bool, Int
from torch import Tensor

from suexp.errors import at_least
from suexp.mask.base import Mask


class Independent(Mask):
    r"""$A_{ij} = [s_i = s_j] \land [j < h \lor j \le i]$ with $s_i = [i \ge h]$, the text of i.

    The first h tokens, the source, see each other; those after them, the target, see their own past
    and nothing of the source. Shapes: query positions (n, 1), key positions (1, m), table (n, m).

    References: the first layers of https://kexue.fm/archives/8475; Dong et al., UniLM,
    arXiv:1905.03197.

    Args:
        half: h, the source's tokens, padding included.

    Raises:
        ValueError: no token.
    """

    def __init__(self, half: int) -> None:
        at_least(1, half=half)
        self.half = half

    def allowed(self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]) -> Bool[Tensor, "n m"]:
        """Return True for the source's tokens among themselves, and a target's past."""
        of_source = key < self.half
        return (of_source & (query < self.half)) | (~of_source & (key <= query))
