"""From left to right: no query sees a later key."""

from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class Causal(Mask):
    r"""$A_{ij} = [j \le i]$: the mask of a language model.

    Shapes: query positions (n, 1), key positions (1, m), table (n, m). With n < m the queries are
    the last n positions (decoding with a cache).

    Reference: Vaswani et al., Attention Is All You Need, arXiv:1706.03762; as one mask among
    several in https://kexue.fm/archives/6933.
    """

    provides = {"autoregressive"}

    def allowed(self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]) -> Bool[Tensor, "n m"]:
        """Return True for keys at or before the query."""
        return key <= query
