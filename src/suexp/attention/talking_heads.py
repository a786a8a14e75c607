"""Softmax attention whose heads mix their scores, and their weights."""

import functools
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.attention.base import Attention, precision
from suexp.attention.softmax import gather, masked_softmax
from suexp.errors import at_least
from suexp.mask.base import Mask

INITS = ("identity", "random")


class TalkingHeads(Attention):
    r"""$o_i = \sum_j K_{ij} P_j v_i$ with $P_i = \mathrm{softmax}(b + \sum_j \Lambda_{ij} s_j)$.

    $s_j = q_j k_j^\top / \sqrt d$ are the scores of head j. Each head is thus made of the low-rank
    scores of all. The bias b of a position and the mask act on the mixed scores, so that nothing
    infinite is mixed. Rows of the mixed weights need not sum to 1. Shapes: q (b, h, n, d),
    k (b, h, m, d), v (b, h, m, e), $\Lambda$ and K (h, h), output (b, h, n, e). Scores are formed,
    in float32; time O(n m h (d + e + h)). $\Lambda$ and K do not decay.

    References: Shazeer et al., Talking-Heads Attention, arXiv:2003.02436;
    https://kexue.fm/archives/7325.

    Args:
        num_heads: h.
        pre: whether scores are mixed.
        post: whether weights are mixed.
        talking_init: identity: plus N(0, 0.02^2), it begins as plain attention; random: N(0, 1/h).
        dropout: probability of dropping a weight in training, before these are mixed; 0.

    Raises:
        ValueError: num_heads below 1, an unknown talking_init, a dropout outside [0, 1).

    Example:
        >>> import torch
        >>> from suexp.attention import TalkingHeads
        >>> from suexp.mask import Causal
        >>> q = k = v = torch.randn(1, 2, 3, 4)
        >>> TalkingHeads(num_heads=2)(q, k, v, Causal()).shape
        torch.Size([1, 2, 3, 4])
    """

    parameter_kinds = {"mix_scores": "gain", "mix_weights": "gain"}
    costs: ClassVar[dict[str, str]] = {
        "scores": "h * n * m * d",
        "values": "h * n * m * e",
        "mixing": "h * h * n * m * ((1 if pre else 0) + (1 if post else 0))",
    }
    saved: ClassVar[str] = (
        "h * n * d + h * n * m * ((1 if pre else 0) + (1 if post else 0)) + formed"
    )

    def __init__(
        self,
        num_heads: int,
        pre: bool = True,
        post: bool = True,
        talking_init: str = "identity",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        at_least(1, num_heads=num_heads)
        if talking_init not in INITS:
            raise ValueError(
                f"talking_init must be one of {', '.join(INITS)}, not {talking_init!r}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, not {dropout}")
        self.num_heads, self.talking_init, self.dropout = num_heads, talking_init, dropout
        self.pre, self.post = pre, post

        def mixing() -> nn.Parameter:
            if talking_init == "random":
                return nn.Parameter(torch.randn(num_heads, num_heads) * num_heads**-0.5)
            return nn.Parameter(torch.eye(num_heads) + 0.02 * torch.randn(num_heads, num_heads))

        self.mix_scores = mixing() if pre else None
        self.mix_weights = mixing() if post else None

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values; zeros for a query that may look at nothing."""
        with torch.autocast(q.device.type, enabled=False):
            allowed = mask.dense(q.shape[-2], k.shape[-2], q.device)
            dropout = self.dropout if self.training else 0.0
            mix = functools.partial(_mix, self.mix_weights)
            return gather(self.scores(q, k, mask, bias), v, allowed, dropout, mix)

    def scores(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """Return the mixed scores, those of hidden keys too, in at least float32."""
        del mask
        real = precision(q)
        scores = (q.to(real) * q.shape[-1] ** -0.5) @ k.to(real).mT
        scores = _mix(self.mix_scores, scores)
        return scores if bias is None else scores + bias

    def weights(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """Return the mixed weights that the values are multiplied by, without dropout."""
        allowed = mask.dense(q.shape[-2], k.shape[-2], q.device)
        weights = masked_softmax(self.scores(q, k, mask, bias), allowed)
        return _mix(self.mix_weights, weights)

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return (
            f"num_heads={self.num_heads}, talking_init={self.talking_init}, dropout={self.dropout}"
        )


def _mix(
    table: Float[Tensor, "h h"] | None, x: Float[Tensor, "b h n m"]
) -> Float[Tensor, "b h n m"]:
    if table is None:
        return x
    return (table.to(x.dtype) @ x.flatten(2)).view(x.shape)
