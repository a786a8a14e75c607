"""No restriction: every query sees every key."""

from jaxtyping import Int
from torch import Tensor

from suexp.mask.base import Mask


class Bidirectional(Mask):
    r"""$A_{ij} = 1$ for all i, j: the attention of an encoder.

    Shapes: query positions (n, 1), key positions (1, m); there is no table at all.

    Reference: Devlin et al., BERT, arXiv:1810.04805; as one mask among several in
    https://kexue.fm/archives/6933.
    """

    provides = {"later_keys"}
    neutral = True
    undecodable = "every token sees the later ones"

    def allowed(self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]) -> None:
        """Return None: every key may be seen."""
        del query, key
