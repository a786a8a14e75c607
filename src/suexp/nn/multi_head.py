"""The shell around every attention: projections, heads, positions, dropout."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from suexp.attention.base import Attention
from suexp.mask.base import Mask
from suexp.nn.linear import FusedLinear, ResidualLinear

Rotate = Callable[..., Tensor]


class MultiHeadAttention(nn.Module):
    r"""$y = W_o\,\mathrm{concat}_h\,\mathrm{attend}(W_q^h x, W_k^h c, W_v^h c)$.

    Shapes: x (b, n, dim), c (b, m, dim) or x itself, heads (b, num_heads, n or m, head_dim).
    The three projections are one matrix; self attention multiplies by all of it at once.

    Reference: Vaswani et al., arXiv:1706.03762, section 3.2.2.

    Args:
        dim: size of the tokens.
        num_heads: how many heads.
        head_dim: size of a head; num_heads * head_dim need not be dim.
        attention: what gathers the values; it is used as it is, not cloned.
        bias: whether the four projections have biases.
        dropout: share of the output set to 0 in training.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        head_dim: int,
        attention: Attention,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(dim, num_heads, head_dim) < 1:
            raise ValueError(
                f"dim {dim}, num_heads {num_heads} and head_dim {head_dim} must be at least 1"
            )
        self.num_heads = num_heads
        self.qkv = FusedLinear(dim, num_heads * head_dim, num_blocks=3, bias=bias)
        self.attention = attention
        self.output = ResidualLinear(num_heads * head_dim, dim, bias)
        self.dropout = nn.Dropout(dropout)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self._heads(q), self._heads(k), self._heads(v)

    def _join(self, y: Tensor) -> Tensor:
        return self.dropout(self.output(y.transpose(1, 2).flatten(2)))

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        mask: Mask,
        rotate: Rotate | None = None,
        bias: Float[Tensor, "*b h n m"] | None = None,
        context: Float[Tensor, "b m c"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Return what each token gathers.

        Args:
            x: the tokens that ask.
            mask: what they may look at.
            rotate: acts on queries and, with ``is_key=True``, on keys, head by head (b, h, n, d);
                not on those of a context, whose places are another text's.
            bias: added to the scores.
            context: the tokens that answer; None: x itself.
        """
        if context is not None:
            return self.look_up(x, self.read(context), mask, bias)
        q, k, v = self._project(x)
        if rotate is not None:
            q, k = rotate(q), rotate(k, is_key=True)
        return self._join(self.attention(q, k, v, mask, bias))

    def read(
        self, context: Float[Tensor, "b m c"]
    ) -> tuple[Float[Tensor, "b h m d"], Float[Tensor, "b h m d"]]:
        """Return the keys and values of a context, which may answer many times."""
        inner = self.output.in_features
        bias = None if self.qkv.bias is None else self.qkv.bias[inner:]
        k, v = F.linear(context, self.qkv.weight[inner:], bias).chunk(2, dim=-1)
        return self._heads(k), self._heads(v)

    def look_up(
        self,
        x: Float[Tensor, "b n c"],
        context: tuple[Float[Tensor, "b h m d"], Float[Tensor, "b h m d"]],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Return what each token gathers from a context that was `read`."""
        inner = self.output.in_features
        own = None if self.qkv.bias is None else self.qkv.bias[:inner]
        q = self._heads(F.linear(x, self.qkv.weight[:inner], own))
        return self._join(self.attention(q, *context, mask, bias))

    def decode(
        self,
        x: Float[Tensor, "b n c"],
        mask: Mask,
        rotate: Rotate | None = None,
        bias: Float[Tensor, "*b h n m"] | None = None,
        state: Any = None,
    ) -> tuple[Float[Tensor, "b n c"], Any]:
        """Return what n new tokens gather from all so far, and what is kept of them."""
        q, k, v = self._project(x)
        if rotate is not None:
            q, k = rotate(q), rotate(k, is_key=True)
        y, state = self.attention.decode(q, k, v, mask, bias, state)
        return self._join(y), state
