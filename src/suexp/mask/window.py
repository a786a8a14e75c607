"""Only what is near: local attention."""

from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class Window(Mask):
    r"""$A_{ij} = [|i - j| < w]$, with ``causal`` also $j \le i$: itself and w - 1 tokens before.

    Shapes: query positions (n, 1), key positions (1, m), table (n, m).

    Reference: Beltagy et al., Longformer, arXiv:2004.05150; local attention and length
    extrapolation in https://kexue.fm/archives/9431.

    Args:
        size: w. 1: each token sees only itself.
        causal: no later keys.

    Raises:
        ValueError: size below 1.
    """

    provides = {"autoregressive if causal", "pattern", "key_subsets", "later_keys if causal=False"}

    def __init__(self, size: int = 64, causal: bool = True) -> None:
        if size < 1:
            raise ValueError(f"the window's size must be at least 1, not {size}")
        self.size = size
        self.causal = causal

    @property
    def block(self) -> int:
        """The length of blocks of which a query sees its own and its neighbours at most."""
        return max(self.size - 1, 1)

    def allowed(self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]) -> Bool[Tensor, "n m"]:
        """Return True for keys less than ``size`` away (and not later, if causal)."""
        distance = query - key
        near = distance < self.size
        return near & (distance >= 0) if self.causal else near & (distance > -self.size)
