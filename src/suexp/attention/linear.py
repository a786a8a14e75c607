"""Linear attention with a fixed positive feature map."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from suexp.attention._core import FeatureAttention
from suexp.attention._feature_map import FeatureMap


class Elu(FeatureMap):
    r"""$\phi(x) = \mathrm{elu}(x) + 1$: $x + 1$ above 0, $e^x$ below."""

    def __call__(self, x: Float[Tensor, "B n d"]) -> tuple[Float[Tensor, "B n d"], None]:
        """Return the features; their size needs no care."""
        return F.elu(x) + 1, None

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
    k (b, h, m, d), v (b, h, m, e), S (d, e), z (d,), output (b, h, n, e). Time O(n d (d + e)).

    Reference: Katharopoulos et al., Transformers are RNNs, arXiv:2006.16236;
    https://kexue.fm/archives/7546.

    Args:
        feature_map: $\phi$: ``elu`` (plus one, as in the paper) or ``relu``.
        chunk_size: tokens that are processed at once; it changes speed, not results.

    Raises:
        ValueError: an unknown feature map, chunk_size below 1, a bias, or a mask that is neither
            causal nor bidirectional.
    """

    refuses: ClassVar[dict[str, str]] = {
        "score_bias": "a position bias needs explicit scores, which it never forms; "
        "use position=rope",
        "pattern": "it sums over all keys or all earlier ones and cannot leave some out; "
        "use mask=causal, mask=bidirectional or attention=softmax",
    }

    def __init__(self, feature_map: str = "elu", chunk_size: int = 64) -> None:
        super().__init__(chunk_size)
        if feature_map not in MAPS:
            raise ValueError(f"feature_map must be one of {', '.join(MAPS)}, not {feature_map!r}")
        self.feature_map = feature_map

    def maps(self, dtype: torch.dtype) -> tuple[FeatureMap, FeatureMap]:
        """Return the same map for queries and keys."""
        del dtype
        feature_map = MAPS[self.feature_map]()
        return feature_map, feature_map

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return f"feature_map={self.feature_map}, {super().extra_repr()}"
