"""The contract of every attention."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.costs import Sizes, formulas_of
from suexp.mask.base import Mask
from suexp.mask.bidirectional import Bidirectional
from suexp.mask.causal import Causal


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

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Mask | None = None,
        bias: Tensor | None = None,
        carried: Carried | None = None,
        *,
        is_causal: bool = False,
    ) -> Tensor:
        """Check the shapes, and attend.

        Args:
            q: queries (b, h, n, d).
            k: keys (b, h, m, d).
            v: values (b, h, m, e).
            mask: what a query may look at; None: at every key.
            bias: added to the scores, (h, n, m) or (b, h, n, m).
            carried: what the layers before hand on, to one that `carries` scores.
            is_causal: at no later key, as of torch's scaled_dot_product_attention; with a mask both
                rules hold.

        Returns:
            (b, h, n, e); zeros for a query that may look at nothing.

        Raises:
            ValueError: shapes that do not fit, or is_causal where n is not m.

        Example:
            >>> import torch
            >>> from suexp.attention import Linear
            >>> q = k = torch.zeros(1, 1, 3, 2)  # equal scores: means of the values
            >>> v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
            >>> Linear()(q, k, v).flatten(), Linear()(q, k, v, is_causal=True).flatten()
            (tensor([3., 3., 3.]), tensor([1.0000, 1.5000, 3.0000]))
        """
        _check_shapes(q, k, v)
        if is_causal:
            n, m = q.shape[-2], k.shape[-2]
            if n != m:
                raise ValueError(
                    f"is_causal needs as many keys as queries, not {m} and {n}; mask=Causal() lets "
                    "the last of both stand side by side"
                )
            mask = Causal() if mask is None else mask & Causal()
        mask = Bidirectional() if mask is None else mask
        given = {} if carried is None else {"carried": carried}
        out: Tensor = super().__call__(q, k, v, mask, bias, **given)
        return out

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


def _check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuse what is not head-split, and keys that fit neither queries nor values."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 4:
            raise ValueError(
                f"{name}: expected (batch, heads, length, dim), got {_shape(x)}; "
                f"{name}.unflatten(-1, (heads, -1)).transpose(1, 2) splits heads"
            )
    b, h, m, d = *q.shape[:2], k.shape[2], q.shape[3]
    for name, x, last in (("k", k, d), ("v", v, v.shape[3])):
        if x.shape != (b, h, m, last):
            raise ValueError(
                f"{name}: expected (batch, heads, length, dim) = {(b, h, m, last)}, as q has "
                f"{_shape(q)} and k {_shape(k)}, got {_shape(x)}"
            )


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)
