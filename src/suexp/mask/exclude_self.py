"""Everything but oneself: each position is predicted from all others at once."""

from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class ExcludeSelf(Mask):
    r"""$A_{ij} = [i \ne j]$: the mask of T-TA, a masked language model that needs no mask token.

    Shapes: query positions (n, 1), key positions (1, m), table (n, m).

    Reference: Shin et al., Fast and Accurate Deep Bidirectional Language Representations for
    Unsupervised Learning, arXiv:2004.08097; https://kexue.fm/archives/7661.
    """

    provides = {"pattern", "later_keys"}
    undecodable = "every token sees the later ones"

    def allowed(self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]) -> Bool[Tensor, "n m"]:
        """Return True for keys at other positions than the query's."""
        return query != key
