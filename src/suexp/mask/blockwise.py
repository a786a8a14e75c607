"""One's own block and the one before: local attention in blocks."""

from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class Blockwise(Mask):
    r"""$A_{ij} = [j \le i]\,[\lfloor i/c \rfloor - \lfloor j/c \rfloor \le 1]$, with c = size / 2.

    A query sees its own block up to itself and the whole block before: half of size or more. XPOS
    calls it blockwise causal attention. Shapes: query positions (n, 1), key positions (1, m), table
    (n, m).

    References: Sun et al., A Length-Extrapolatable Transformer, arXiv:2212.10554, section 2.3;
    https://kexue.fm/archives/9431.

    Args:
        size: the most tokens that a query sees, two blocks.

    Raises:
        ValueError: a size that is odd or below 2.
    """

    provides = {"autoregressive", "pattern", "key_subsets"}

    def __init__(self, size: int = 64) -> None:
        if size < 2 or size % 2:
            raise ValueError(f"size is two blocks: it must be even and at least 2, not {size}")
        self.size = size

    @property
    def block(self) -> int:
        """The length of blocks of which a query sees its own and the one before at most."""
        return self.size // 2

    def allowed(self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]) -> Bool[Tensor, "n m"]:
        """Return True for keys up to the query in its block and the one before."""
        block = self.block
        return (key <= query) & (query // block - key // block <= 1)
