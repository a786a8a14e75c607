"""Softmax attention whose sharpness grows with the number of keys."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.attention._local import blocks_of, count_local_keys
from suexp.attention.base import precision
from suexp.attention.softmax import Softmax
from suexp.errors import at_least
from suexp.mask.base import Mask
from suexp.mask.causal import Causal

MODES = ("always", "beyond_train")


class EntropyInvariant(Softmax):
    r"""`Softmax` with scores $\lambda_i\, q_i \cdot k_j$, $\lambda_i = \log_{512} n_i / \sqrt d$.

    $n_i$ is the number of keys that query i may look at, at least ``min_length``: twice as many
    then leave the entropy of the weights about as it was. Equals the usual weights, raised to the
    power $\log_{512} n_i$ and normalised. Shapes as in `Softmax`; the queries are multiplied
    in at least float32, so that fused kernels serve. A position's bias is not scaled.

    References: https://kexue.fm/archives/9034, https://kexue.fm/archives/8823; the logarithm
    without its base: Chiang and Cholak, arXiv:2202.12172.

    Args:
        base: the length at which it is the usual attention; 512 by the author's convention.
        min_length: least $n_i$; 16 as in the author's code.
        mode: always; beyond_train: $\max(1, \log_N n_i) / \sqrt d$ with N = train_length, for a
            model that was trained with the usual scale (Qwen's ``use_logn_attn``).
        train_length: N.
        kappa: $\lambda_i = \kappa \log n_i / d$ instead; None: as above.
        dropout: probability of dropping an attention weight in training; 0.

    Raises:
        ValueError: a base not above 1, a min_length below 2, an unknown mode, mode=beyond_train
            without a train_length above 1, or with a kappa; a kappa not above 0.

    Example:
        >>> import torch
        >>> from suexp.attention import EntropyInvariant
        >>> from suexp.mask import Causal
        >>> q = k = torch.zeros(1, 1, 3, 2)  # equal scores: means of the values so far
        >>> v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
        >>> EntropyInvariant()(q, k, v, Causal()).flatten()
        tensor([1.0000, 1.5000, 3.0000])
    """

    queries: ClassVar[str] = "n + (h * n * d if fused and not e > d else 0)"

    def __init__(
        self,
        base: float = 512.0,
        min_length: int = 16,
        mode: str = "always",
        train_length: int | None = None,
        kappa: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dropout)
        if not base > 1:
            raise ValueError(f"base must be above 1, not {base}")
        at_least(2, min_length=min_length, train_length=train_length)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        if mode == "beyond_train" and (train_length is None or train_length < 2):
            raise ValueError("mode=beyond_train: attention.train_length is needed, above 1")
        if kappa is not None and not kappa > 0:
            raise ValueError(f"kappa must be above 0, not {kappa}")
        if kappa is not None and mode == "beyond_train":
            raise ValueError("mode=beyond_train has the scale of training: leave kappa out")
        self.base, self.min_length, self.mode = base, min_length, mode
        self.train_length, self.kappa = train_length, kappa

    def query_scale(
        self, q: Float[Tensor, "b h n d"], m: int, mask: Mask
    ) -> Float[Tensor, "*batch n 1"]:
        r"""Return $\lambda_i \sqrt d$ for the last n of m places, in at least float32."""
        n, device = q.shape[-2], q.device
        blocks = blocks_of(mask)
        if mask.is_only(Causal):
            count = torch.arange(m - n + 1, m + 1, device=device)
        elif blocks is not None and n == m and blocks.pay(n):
            count = count_local_keys(mask, blocks, n, device)
        else:
            table = mask.dense(n, m, device)
            count = torch.full((n,), m, device=device) if table is None else table.sum(-1)
        log = count.clamp_min(self.min_length).to(precision(q)).log()[..., None]
        if self.kappa is not None:
            return log * (self.kappa * q.shape[-1] ** -0.5)
        if self.mode == "beyond_train":
            assert self.train_length is not None
            return (log / math.log(self.train_length)).clamp_min(1.0)
        return log / math.log(self.base)

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values; zeros for a query that may look at nothing."""
        scale = self.query_scale(q, k.shape[-2], mask)
        return super().forward((q * scale).to(q.dtype), k, v, mask, bias)

    def scores(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """Return the scores, those of hidden keys too, in at least float32; for measurements."""
        scale = self.query_scale(q, k.shape[-2], mask)
        return super().scores(q.to(scale.dtype) * scale, k, mask, bias)

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return f"base={self.base}, min_length={self.min_length}, mode={self.mode}"
