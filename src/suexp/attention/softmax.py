"""The usual attention, through the fastest kernel that the mask permits."""

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from suexp.attention._local import blocks_of, local_attention
from suexp.attention.base import Attention, precision
from suexp.mask.base import Mask
from suexp.mask.bidirectional import Bidirectional
from suexp.mask.causal import Causal

KERNELS = ("sdpa", "materialised")


def masked_softmax(
    scores: Float[Tensor, "b h n m"], allowed: Bool[Tensor, "*batch n m"] | None
) -> Float[Tensor, "b h n m"]:
    """Return weights over the allowed keys; zeros in a row that has none."""
    if allowed is None:
        return scores.softmax(-1)
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1)
    return weights.masked_fill(~allowed, 0)


def gather(
    scores: Float[Tensor, "b h n m"],
    v: Float[Tensor, "b h m e"],
    allowed: Bool[Tensor, "*batch n m"] | None,
    dropout: float = 0.0,
    mix: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "b h n e"]:
    """Return the values gathered by weights that are formed, in the scores' type.

    Args:
        scores: what the softmax is taken of.
        v: values.
        allowed: what queries may look at; None: everything. One that sees nothing gets zeros.
        dropout: probability of dropping a weight now.
        mix: what is done to the weights then; rows of zeros must stay so.
    """
    if allowed is not None:
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    weights = F.dropout(scores.softmax(-1), dropout)
    weights = weights if mix is None else mix(weights)
    out = weights @ v.to(weights.dtype)
    if allowed is not None:  # cheaper here than on the weights
        out = out.masked_fill(~allowed.any(-1, keepdim=True), 0)
    return out.to(v.dtype)


def naive(
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h m d"],
    v: Float[Tensor, "b h m e"],
    allowed: Bool[Tensor, "*batch n m"] | None = None,
    bias: Float[Tensor, "*b h n m"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "b h n e"]:
    """Attend by the equation, every score spelt out: the reference that tests compare with."""
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    return masked_softmax(scores, allowed) @ v


class Softmax(Attention):
    r"""$o_i = \sum_j p_{ij} v_j$, $p_{ij} \propto A_{ij} e^{s_{ij}}$ with $s = \tau q k^\top + b$.

    Shapes: q (b, h, n, d), k (b, h, m, d), v (b, h, m, e), mask A (n, m) or (b, 1, n, m), bias
    (h, n, m) or (b, h, n, m); output (b, h, n, e). Cost O(n m (d + e)).

    A causal mask alone is a flag of the fused kernel, or nothing when one token is decoded; under a
    window, or blocks, the cost is linear in n (see `suexp.attention._local`); only other masks,
    and any bias, become a table.

    Reference: Vaswani et al., Attention Is All You Need, arXiv:1706.03762;
    https://kexue.fm/archives/4765.

    Args:
        dropout: probability of dropping an attention weight in training; 0.
        scale: $\tau$; None: $d^{-1/2}$ as in the paper.
        kernel: sdpa, torch's fused kernels; materialised: all n x m weights are formed, as before
            there were such kernels, which is slower and keeps h n m numbers for the backward pass.

    Raises:
        ValueError: a dropout outside [0, 1), or an unknown kernel.

    Example:
        >>> import torch
        >>> from suexp.attention import Softmax
        >>> from suexp.mask import Causal
        >>> q = k = torch.zeros(1, 1, 3, 2)  # equal scores: means of the values so far
        >>> v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
        >>> Softmax()(q, k, v, Causal()).flatten()
        tensor([1.0000, 1.5000, 3.0000])
    """

    costs: ClassVar[dict[str, str]] = {
        "scores": "h * d * products",
        "values": "h * e * products",
    }
    products: ClassVar[str] = "pairs if kernel == 'sdpa' and not dropout > 0 else n * m"
    saved: ClassVar[str] = "kept"
    kept: ClassVar[str] = (
        "formed if kernel == 'materialised' else queries + widened + (h * n if fused else"
        " h * n * m * (3 if dropout > 0 else 1) + h * (n + m) * (max(d, e) if n > 1 else d))"
    )
    # Without dropout, of which the CPU's knows nothing, and of equal sizes, to which it widens
    # those of several queries.
    fused: ClassVar[str] = "not dropout > 0 and (n > 1 or d == e)"
    widened: ClassVar[str] = (
        "0 if n == 1 else h * m * d if e < d else h * (n + m) * e if e > d and fused else 0"
    )
    queries: ClassVar[str] = "0"

    def __init__(
        self, dropout: float = 0.0, scale: float | None = None, kernel: str = "sdpa"
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, not {dropout}")
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")
        self.dropout = dropout
        self.scale = scale
        self.kernel = kernel

    @property
    def dropping(self) -> float:
        """The probability of dropping an attention weight as things stand."""
        return self.dropout if self.training else 0.0

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values; zeros for a query that may look at nothing."""
        n, m = q.shape[-2], k.shape[-2]
        if self.kernel == "materialised":
            scores = (q @ k.mT).mul_(q.shape[-1] ** -0.5 if self.scale is None else self.scale)
            scores = scores if bias is None else scores + bias.to(scores.dtype)
            return gather(scores, v, mask.dense(n, m, q.device), self.dropping)
        scale, size = self.scale, v.shape[-1]
        flash = torch.backends.cuda.flash_sdp_enabled
        fused = torch.compiler.is_compiling() or flash()  # type: ignore[no-untyped-call]
        if size != q.shape[-1] and n > 1 and q.device.type == "cpu" and fused:
            # The CPU's fused kernel wants equal sizes; without it, n x m scores would be formed.
            scale = q.shape[-1] ** -0.5 if scale is None else scale
            width = max(size, q.shape[-1])
            q, k, v = (
                x if x.shape[-1] == width else F.pad(x, (0, width - x.shape[-1])) for x in (q, k, v)
            )
        blocks = blocks_of(mask)
        if blocks is not None and bias is None and n == m and blocks.pay(n):
            return local_attention(q, k, v, mask, blocks, self.dropping, scale)[..., :size]
        table, blind, is_causal = None, None, False
        if bias is None and n == m and mask.is_only(Causal):
            is_causal = n > 1
        elif not (n == 1 and mask.is_only(Causal, Bidirectional)):
            table = mask.dense(n, m, q.device)
        if table is not None and (n > m or not mask.is_only(Causal, Bidirectional)):
            # Kernels disagree about rows without keys: let these see all, then drop them.
            blind = ~table.any(-1, keepdim=True)
            table = table | blind
        if bias is not None:
            bias = bias.to(q.dtype).view(
                -1, *bias.shape[-3:]
            )  # three dimensions have no fast kernel
            if table is not None:
                bias = bias + torch.zeros_like(table, dtype=bias.dtype).masked_fill_(
                    ~table, -torch.inf
                )
            table = bias
        out = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=table,
            dropout_p=self.dropping,
            is_causal=is_causal,
            scale=scale,
        )[..., :size]
        return out if blind is None else out.masked_fill(blind, 0)

    def scores(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """Return the scores, those of hidden keys too, in at least float32; for measurements."""
        del mask
        real = precision(q)
        scale = q.shape[-1] ** -0.5 if self.scale is None else self.scale
        scores = (q.to(real) * scale) @ k.to(real).mT
        return scores if bias is None else scores + bias

    def weights(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """Return what the values are multiplied by without dropout; for measurements."""
        allowed = mask.dense(q.shape[-2], k.shape[-2], q.device)
        return masked_softmax(self.scores(q, k, mask, bias), allowed)

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return f"dropout={self.dropout}, scale={self.scale}, kernel={self.kernel}"
