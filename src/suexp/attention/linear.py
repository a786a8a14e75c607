"""Linear attention with a fixed positive feature map."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from suexp.attention._core import FeatureAttention
from suexp.attention._feature_map import FeatureMap, State
from suexp.errors import at_least
from suexp.mask.base import Mask


class Elu(FeatureMap):
    r"""$\phi(x) = \mathrm{elu}(x) + 1$: $x + 1$ above 0, $e^x$ below."""

    def __call__(self, x: Float[Tensor, "B n d"]) -> tuple[Float[Tensor, "B n d"], None]:
        """Return the features; their size needs no care."""
        return F.elu(x).add_(1), None

    def vjp(
        self, x: Float[Tensor, "B n d"], features: Float[Tensor, "B n d"], grad: Tensor
    ) -> Float[Tensor, "B n d"]:
        r"""Return the gradient for x, by $\phi' = \min(\phi, 1)$."""
        del x
        return grad.mul_(features.clamp_max(1))


class Relu(FeatureMap):
    r"""$\phi(x) = \max(x, 0)$; a query whose features all vanish gets zeros."""

    def __call__(self, x: Float[Tensor, "B n d"]) -> tuple[Float[Tensor, "B n d"], None]:
        """Return the features."""
        return x.relu(), None

    def vjp(
        self, x: Float[Tensor, "B n d"], features: Float[Tensor, "B n d"], grad: Tensor
    ) -> Float[Tensor, "B n d"]:
        """Return the gradient for x."""
        del features
        return grad.mul_(x > 0)


MAPS: dict[str, type[FeatureMap]] = {"elu": Elu, "relu": Relu}


class Linear(FeatureAttention):
    r"""$o_i = \phi(q_i)^\top S_i \,/\, \phi(q_i)^\top z_i$, $S_i = \sum_j \phi(k_j) v_j^\top$.

    $z_i = \sum_j \phi(k_j)$, j over all keys or, if causal, those up to i. Shapes: q (b, h, n, d),
    k (b, h, m, d), v (b, h, m, e), S (f, e), z (f,), output (b, h, n, e). Time O(n f (d + e)).

    With r = feature_multiplier above 1 there are f = r d features $\phi(W x)$, where W (h, r d, d)
    is learned: without softmax the rank of the n x n weights is at most f, which is why linear
    attention needs larger heads (https://kexue.fm/archives/8610).

    Reference: Katharopoulos et al., Transformers are RNNs, arXiv:2006.16236;
    https://kexue.fm/archives/7546; learned features: Kasai et al., arXiv:2103.13076.

    Args:
        feature_map: $\phi$: ``elu`` (plus one, as in the paper) or ``relu``.
        chunk_size: tokens that are processed at once; it changes speed, not results.
        feature_multiplier: r; 1: the features of q and k themselves.
        num_heads: h; read where feature_multiplier is above 1.
        head_dim: d, likewise.

    Raises:
        ValueError: an unknown feature map, a size below 1, num_heads and head_dim missing where
            they are read, a bias, or a mask that is neither causal nor bidirectional.

    Example:
        >>> import torch
        >>> from suexp.attention import Linear
        >>> from suexp.mask import Causal
        >>> q = k = torch.zeros(1, 1, 3, 2)  # equal scores: means of the values so far
        >>> v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
        >>> Linear()(q, k, v, Causal()).flatten()
        tensor([1.0000, 1.5000, 3.0000])
    """

    features: ClassVar[str] = "feature_multiplier * d"
    mapping: ClassVar[str] = "h * (n + m) * d * f if feature_multiplier > 1 else 0"
    mapped: ClassVar[str] = "h * (n + m) * f if feature_multiplier > 1 else 0"

    def __init__(
        self,
        feature_map: str = "elu",
        chunk_size: int = 64,
        feature_multiplier: int = 1,
        num_heads: int | None = None,
        head_dim: int | None = None,
    ) -> None:
        super().__init__(chunk_size)
        at_least(1, feature_multiplier=feature_multiplier)
        if feature_map not in MAPS:
            raise ValueError(f"feature_map must be one of {', '.join(MAPS)}, not {feature_map!r}")
        self.feature_map, self.feature_multiplier = feature_map, feature_multiplier
        self.widening: nn.Parameter | None = None
        if feature_multiplier > 1:
            if num_heads is None or head_dim is None:
                raise ValueError("feature_multiplier above 1 needs num_heads and head_dim")
            # Each block of d rows is drawn as a turn, so that a head's features begin as large
            # as those of its own queries and keys.
            blocks = torch.empty(num_heads, feature_multiplier, head_dim, head_dim)
            for block in blocks.view(-1, head_dim, head_dim):
                nn.init.orthogonal_(block)
            self.widening = nn.Parameter(blocks.flatten(1, 2))

    def _widen(self, x: Float[Tensor, "b h n d"]) -> Float[Tensor, "b h n f"]:
        return x if self.widening is None else x @ self.widening.to(x.dtype).mT

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values; zeros for a query that may look at nothing."""
        return super().forward(self._widen(q), self._widen(k), v, mask, bias)

    def decode(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        v: Float[Tensor, "b h n e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        state: State | None = None,
    ) -> tuple[Float[Tensor, "b h n e"], State]:
        """Attend from n new tokens to all so far; the state is f (e + 1) sums a head."""
        return super().decode(self._widen(q), self._widen(k), v, mask, bias, state)

    def maps(self, dtype: torch.dtype) -> tuple[FeatureMap, FeatureMap]:
        """Return the same map for queries and keys."""
        del dtype
        feature_map = MAPS[self.feature_map]()
        return feature_map, feature_map

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return (
            f"feature_map={self.feature_map}, feature_multiplier={self.feature_multiplier}, "
            f"{super().extra_repr()}"
        )
