"""The contract of every attention."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.costs import Sizes, formulas_of
from suexp.mask.base import Mask


def precision(x: Tensor) -> torch.dtype:
    """Return the type to compute sums and exponentials in: that of x, at least float32."""
    return torch.promote_types(x.dtype, torch.float32)


@dataclass
class Carried:
    """What an attention hands to the next layer's, within one forward pass.

    Attributes:
        scores: what the next layer adds to its own.
        summed: what the last layer attended by, but for its mask and its position's bias.
        layers: how many layers these are of.
        cross: the same of the attention to another text, which has scores of its own.
    """

    scores: Float[Tensor, "b h n m"] | None = None
    summed: Float[Tensor, "b h n m"] | None = None
    layers: int = 0
    cross: "Carried | None" = None


class Attention(nn.Module, Component):
    """Head-split tensors in, head-split tensors out; projections and positions belong to the shell.

    Options that never form the n x m scores cannot take a bias or choose among keys; they say so in
    `refuses` with the features ``score_bias`` (a position that adds to the scores), ``pattern`` (a
    mask that is neither bidirectional nor causal nor padding) and ``key_subsets`` (one under which
    a query sees neither all keys nor all others nor all earlier ones).

    Attributes:
        carries: whether it hands scores to the next layer: `forward` and `decode` then take
            ``carried``, too.
        costs, saved, state: formulas of what it costs, see `suexp.costs`, like all other strings.
        formed: numbers that the weights of `suexp.attention.softmax.gather` are.
    """

    carries: ClassVar[bool] = False
    costs: ClassVar[dict[str, str]] = {}
    saved: ClassVar[str] = ""
    formed: ClassVar[str] = (
        "h * n * m * (3 if dropout > 0 else 1) + ((n * m + n) / 4 if causal else 0)"
    )
    state: ClassVar[str] = "h * m * (d + e)"  # keys and values

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values. A query that may look at nothing gets zeros."""
        raise NotImplementedError

    def decode(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        v: Float[Tensor, "b h n e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        state: Any = None,
    ) -> tuple[Float[Tensor, "b h n e"], Any]:
        """Attend from n new tokens to all so far; ``state`` carries what is kept of the past.

        The first call takes the whole prompt with ``state=None``. The default keeps keys and
        values; a linear attention overrides it with a state whose size does not grow. ``mask`` is
        the mask of the whole text so far (m = past + n keys).
        """
        if state is not None:
            k, v = torch.cat([state[0], k], -2), torch.cat([state[1], v], -2)
        return self(q, k, v, mask, bias), (k, v)

    def flops(
        self, n: int, m: int, num_heads: int, head_dim: int, value_dim: int, causal: bool = False
    ) -> dict[str, int]:
        """Return the floating-point operations of a text's forward pass, by term.

        Raises:
            UserError: the class declares no `costs`.
        """
        return formulas_of(self).flops(Sizes(n, m, num_heads, head_dim, value_dim, causal))

    def saved_size(
        self, n: int, m: int, num_heads: int, head_dim: int, value_dim: int, causal: bool = False
    ) -> int:
        """Return the numbers that wait for the backward pass, beside q, k, v and the output."""
        return formulas_of(self).saved_size(Sizes(n, m, num_heads, head_dim, value_dim, causal))

    def state_size(self, m: int, num_heads: int, head_dim: int, value_dim: int) -> int:
        """Return the numbers that decoding keeps of a text of m tokens."""
        return formulas_of(self).state_size(Sizes(m, m, num_heads, head_dim, value_dim, True))
