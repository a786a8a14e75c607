"""From right to left: no query sees an earlier key."""

from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class Reversed(Mask):
    r"""$A_{ij} = [j \ge i]$: a language model that reads backwards.

    Shapes: query positions (n, 1), key positions (1, m), table (n, m). It is the causal mask of the
    mirrored text.

    Reference: one mask among several in https://kexue.fm/archives/6933.
    """

    provides = {"pattern", "key_subsets", "later_keys"}
    undecodable = "a text that grows to the right would change what every token has seen"

    def allowed(self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]) -> Bool[Tensor, "n m"]:
        """Return True for keys at or after the query."""
        return key >= query
