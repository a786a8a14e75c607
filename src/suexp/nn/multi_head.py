"""The shell around every attention: projections, heads, positions, dropout."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.attention.base import Attention, Carried
from suexp.errors import at_least
from suexp.mask.base import Mask
from suexp.nn.linear import FusedLinear, ResidualLinear

Rotate = Callable[..., Tensor]


class MultiHeadAttention(nn.Module):
    r"""$y = W_o\,\mathrm{concat}_h\,\mathrm{attend}(W_q^h x, W_k^h c, W_v^h c)$.

    Shapes: x (b, n, dim), c (b, m, dim) or x itself, queries and keys (b, num_heads, n or m,
    key_dim), values (b, num_heads, m, head_dim). The three projections are one matrix; self
    attention multiplies by all of it at once.

    References: Vaswani et al., arXiv:1706.03762, section 3.2.2; keys larger than values:
    https://kexue.fm/archives/7325.

    Args:
        dim: size of the tokens.
        num_heads: how many heads.
        head_dim: size of a head's values; num_heads * head_dim need not be dim.
        attention: what gathers the values; it is used as it is, not cloned.
        bias: whether the four projections have biases.
        dropout: share of the output set to 0 in training.
        key_dim: size of a head's queries and keys; None: head_dim.

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
        key_dim: int | None = None,
    ) -> None:
        super().__init__()
        key_dim = head_dim if key_dim is None else key_dim
        at_least(1, dim=dim, num_heads=num_heads, head_dim=head_dim, key_dim=key_dim)
        self.num_heads = num_heads
        keys = num_heads * key_dim
        self.qkv = FusedLinear(dim, [keys, keys, num_heads * head_dim], bias)
        self.attention = attention
        self.output = ResidualLinear(num_heads * head_dim, dim, bias)
        self.dropout = nn.Dropout(dropout)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).split(self.qkv.blocks, dim=-1)
        return self._heads(q), self._heads(k), self._heads(v)

    def _ask(self, x: Tensor) -> Tensor:
        """Return the queries alone."""
        return self._heads(self.qkv.some(x, end=1))

    def _join(self, y: Tensor) -> Tensor:
        return self.dropout(self.output(y.transpose(1, 2).flatten(2)))

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        mask: Mask,
        rotate: Rotate | None = None,
        bias: Float[Tensor, "*b h n m"] | None = None,
        carried: Carried | None = None,
        context: Float[Tensor, "b m c"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Return what each token gathers.

        Args:
            x: the tokens that ask.
            mask: what they may look at.
            rotate: acts on queries and, with ``is_key=True``, on keys, head by head (b, h, n, d);
                None where a context's places are another text's.
            bias: added to the scores.
            carried: the scores of the layers before, where the attention carries them on.
            context: the tokens that answer; None: x itself.
        """
        q, k, v = self._project(x) if context is None else (self._ask(x), *self.read(context))
        if rotate is not None:
            q, k = rotate(q), rotate(k, is_key=True)
        return self._join(self.attention(q, k, v, mask, bias, carried))

    def read(
        self, context: Float[Tensor, "b m c"]
    ) -> tuple[Float[Tensor, "b h m d"], Float[Tensor, "b h m e"]]:
        """Return the keys and values of a context, which may answer many times."""
        k, v = torch.split(self.qkv.some(context, 1), self.qkv.blocks[1:], -1)
        return self._heads(k), self._heads(v)

    def look_up(
        self,
        x: Float[Tensor, "b n c"],
        context: tuple[Float[Tensor, "b h m d"], Float[Tensor, "b h m e"]],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        carried: Carried | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Return what each token gathers from a context that was `read`."""
        return self._join(self.attention(self._ask(x), *context, mask, bias, carried))

    def decode(
        self,
        x: Float[Tensor, "b n c"],
        mask: Mask,
        rotate: Rotate | None = None,
        bias: Float[Tensor, "*b h n m"] | None = None,
        carried: Carried | None = None,
        state: Any = None,
    ) -> tuple[Float[Tensor, "b n c"], Any]:
        """Return what n new tokens gather from all so far, and what is kept of them."""
        q, k, v = self._project(x)
        if rotate is not None:
            q, k = rotate(q), rotate(k, is_key=True)
        y, state = self.attention.decode(q, k, v, mask, bias, state, **_given(carried))
        return self._join(y), state


def _given(carried: Carried | None) -> dict[str, Carried]:
    """Return the argument that only an attention which carries scores knows."""
    return {} if carried is None else {"carried": carried}


def head_sizes(
    dim: int, num_heads: int, head_dim: int | None, key_dim: int | None, **parts: nn.Module
) -> tuple[int, int]:
    """Return the sizes of a head's values, and of its queries and keys.

    Args:
        dim: size of the tokens.
        num_heads: number of heads.
        head_dim: size of the values; None: dim / num_heads.
        key_dim: size of queries and keys; None: that of the values.
        parts: by name, what may have a ``head_dim`` of its own, that of queries and keys.

    Raises:
        ValueError: sizes that do not fit.
    """
    if head_dim is None:
        if dim % num_heads:
            raise ValueError(f"dim {dim} does not divide by num_heads {num_heads}; set head_dim")
        head_dim = dim // num_heads
    key_dim = head_dim if key_dim is None else key_dim
    for name, part in parts.items():
        if getattr(part, "head_dim", key_dim) != key_dim:
            raise ValueError(
                f"{name}.head_dim is {part.head_dim}, but the model's heads have {key_dim}"
            )
    return head_dim, key_dim
