"""Attention by the Taylor polynomial of exp."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from suexp.attention._core import FeatureAttention
from suexp.attention._feature_map import FeatureMap
from suexp.attention.base import Attention, precision
from suexp.errors import at_least
from suexp.mask.base import Mask

IMPLEMENTATIONS = ("linear", "quadratic")


def taylor_exp(x: Tensor, order: int) -> Tensor:
    r"""Return $\sum_{k \le order} x^k / k!$, by Horner's rule; positive for every x if even."""
    result = torch.ones_like(x)
    for k in range(order, 0, -1):
        result = 1 + x * result / k
    return result


class TaylorFeatures(FeatureMap):
    r"""$\phi(x) = (1, x, x_i^2 / \sqrt 2, x_i x_j)$ for i < j: $\phi(x)\cdot\phi(y) = f_2(x y)$.

    Args:
        head_dim: d; there are 1 + d + d (d + 1) / 2 features, 1 + d for order 1.
        order: 1 or 2.
        l2_normalize: divide each vector by its norm first; else by $d^{1/4}$.
    """

    def __init__(self, head_dim: int, order: int, l2_normalize: bool) -> None:
        self.head_dim = head_dim
        self.order = order
        self.l2_normalize = l2_normalize

    def __call__(self, x: Float[Tensor, "B n d"]) -> tuple[Float[Tensor, "B n f"], None]:
        """Return the features; polynomials need no care for their size."""
        x = x * self._scale(x)
        parts = [torch.ones_like(x[..., :1]), x]
        if self.order == 2:
            i, j, weight = self._pairs(x)
            parts.append(x[..., i] * x[..., j] * weight)
        return torch.cat(parts, -1), None

    def _scale(self, x: Tensor) -> Tensor | float:
        if not self.l2_normalize:
            return float(self.head_dim**-0.25)
        return 1 / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)

    def _pairs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i, j = torch.triu_indices(self.head_dim, self.head_dim, device=x.device)
        return i, j, torch.ones_like(i, dtype=x.dtype).masked_fill_(i == j, 0.5**0.5)

    def vjp(
        self, x: Float[Tensor, "B n d"], features: Float[Tensor, "B n f"], grad: Tensor
    ) -> Float[Tensor, "B n d"]:
        """Return the gradient for x."""
        del features
        d = self.head_dim
        scale = self._scale(x)
        scaled, dx = x * scale, grad[..., 1 : 1 + d]
        if self.order == 2:
            i, j, weight = self._pairs(x)
            table = grad.new_zeros(*grad.shape[:-1], d * d)
            table[..., i * d + j] = grad[..., 1 + d :] * weight
            square, column = table.view(*grad.shape[:-1], d, d), scaled[..., None]
            dx = dx + (square @ column + square.mT @ column)[..., 0]
        if self.l2_normalize:  # which takes no step along x
            dx = dx - scaled * (dx * scaled).sum(-1, keepdim=True)
        return dx * scale


class Taylor(FeatureAttention):
    r"""$o_i = \sum_j p_{ij} v_j$, $p_{ij} \propto f_n(q_i \cdot k_j / \sqrt d)$.

    $f_n(x) = \sum_{k \le n} x^k / k!$ is positive for all x when n is even, so nothing needs to be
    subtracted or added; hidden keys get weight 0. For n = 2 it is a linear attention with
    1 + d + d (d + 1) / 2 features; time O(N d^3), which pays for small heads or very long texts.
    Shapes: q (b, h, n, d), k (b, h, m, d), v (b, h, m, e), output (b, h, n, e). At least float32.

    References: https://kexue.fm/archives/7919; Banerjee et al., Exploring Alternatives to Softmax
    Function, arXiv:2011.11538; as linear attention Arora et al., Based, arXiv:2402.18668; order 1
    of vectors of length 1: https://kexue.fm/archives/7546.

    Args:
        head_dim: d, the size of a head.
        order: n, even; 1 with l2_normalize.
        l2_normalize: let the score be the cosine of query and key, at order 1 too never negative.
        implementation: linear, or quadratic: every weight is formed, for any order.
        chunk_size: tokens that linear processes at once; it changes speed, not results.

    Raises:
        ValueError: head_dim below 1, an odd order, an order above 2 with implementation=linear, an
            unknown implementation, a bias, or a mask other than causal,
            bidirectional and exclude_self.

    Example:
        >>> import torch
        >>> from suexp.attention import Taylor
        >>> from suexp.mask import Causal
        >>> q = k = torch.zeros(1, 1, 3, 2)  # equal scores: means of the values so far
        >>> v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
        >>> Taylor(head_dim=2)(q, k, v, Causal()).flatten()
        tensor([1.0000, 1.5000, 3.0000])
    """

    refuses: ClassVar[dict[str, str]] = {
        "score_bias": "its weights are polynomials of the scores, not exponentials that a bias "
        "could shift; use position=rope",
        "key_subsets": "it sums over all keys, all others or all earlier ones and cannot choose "
        "among them; use mask=causal, mask=bidirectional or attention=softmax",
    }
    features: ClassVar[str] = "1 + d + (d * (d + 1) // 2 if order == 2 else 0)"
    costs: ClassVar[dict[str, str]] = {
        "scores": "h * n * m * d if implementation == 'quadratic' else 0",
        "values": "h * n * m * e if implementation == 'quadratic' else 0",
        "sums": "h * (m - seeing + padded) * f * e if implementation == 'linear' else 0",
        "output": "h * padded * f * e if implementation == 'linear' else 0",
        "normaliser": "h * (m - seeing + 2 * padded) * f if implementation == 'linear' else 0",
        "chunks": "h * squares(padded, chunk) * (f + e + 1)"
        " if causal and implementation == 'linear' else 0",
        "joining": "h * (padded // chunk) ** 2 * f * (e + 1)"
        " if joined and implementation == 'linear' else 0",
    }
    saved: ClassVar[str] = (
        "h * by_chunks if implementation == 'linear' else"
        " h * n * ((order + 2) * m + e + 5 / 4) + (n * m / 4 if causal else 0)"
        " + (h * (n + m) * (d + 2) if l2_normalize else 0)"
    )
    state: ClassVar[str] = (
        "h * m * (d + e) if implementation == 'quadratic' else h * (f * (e + 1) + 1)"
    )

    def __init__(
        self,
        head_dim: int,
        order: int = 2,
        l2_normalize: bool = False,
        implementation: str = "linear",
        chunk_size: int = 64,
    ) -> None:
        super().__init__(chunk_size)
        at_least(1, head_dim=head_dim)
        if implementation not in IMPLEMENTATIONS:
            raise ValueError(
                f"implementation must be one of {', '.join(IMPLEMENTATIONS)}, "
                f"not {implementation!r}"
            )
        if order < 1 or (order % 2 == 1 and not (order == 1 and l2_normalize)):
            raise ValueError(
                f"order {order}: Taylor order must be even (f_n of odd order takes negative "
                "values), or 1 with l2_normalize=true"
            )
        if order > 2 and implementation == "linear":
            raise ValueError(f"order {order} has d^{order} features; use implementation=quadratic")
        self.order, self.l2_normalize, self.implementation = order, l2_normalize, implementation
        self.head_dim = head_dim

    def maps(self, dtype: torch.dtype) -> tuple[FeatureMap, FeatureMap]:
        """Return the same map for queries and keys."""
        del dtype
        feature_map = TaylorFeatures(self.head_dim, self.order, self.l2_normalize)
        return feature_map, feature_map

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values; zeros for a query that may look at nothing."""
        if self.implementation == "linear":
            return super().forward(q, k, v, mask, bias)
        self._read(mask, bias)
        return self._quadratic(q, k, v, mask.dense(q.shape[-2], k.shape[-2], q.device))

    def decode(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        v: Float[Tensor, "b h n e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        state: Any = None,
    ) -> tuple[Float[Tensor, "b h n e"], Any]:
        """Attend from n new tokens to all so far; what is kept: sums, or keys and values."""
        if self.implementation == "linear":
            return super().decode(q, k, v, mask, bias, state)
        return Attention.decode(self, q, k, v, mask, bias, state)

    def _quadratic(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        allowed: Bool[Tensor, "*batch n m"] | None,
    ) -> Float[Tensor, "b h n e"]:
        with torch.autocast(q.device.type, enabled=False):
            x, y, values = (z.to(precision(z)) for z in (q, k, v))
            if self.l2_normalize:
                scores = F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).mT
            else:
                scores = x @ y.mT * self.head_dim**-0.5
            weights = taylor_exp(scores, self.order)
            if allowed is not None:
                weights = weights * allowed
            total = weights.sum(-1, keepdim=True)
            return (weights @ values / torch.where(total == 0, 1.0, total)).to(v.dtype)

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return (
            f"head_dim={self.head_dim}, order={self.order}, l2_normalize={self.l2_normalize}, "
            f"implementation={self.implementation}, {super().extra_repr()}"
        )
