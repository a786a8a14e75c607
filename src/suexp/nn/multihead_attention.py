"""torch's MultiheadAttention with another attention in it."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suexp.attention._named import named
from suexp.attention.base import Attention
from suexp.mask.base import Mask
from suexp.mask.bidirectional import Bidirectional
from suexp.mask.causal import Causal
from suexp.mask.padding import Padding
from suexp.mask.table import Table, of_torch


class MultiheadAttention(nn.MultiheadAttention):
    r"""$[o_1 \dots o_h] W_o$, $o_i$ attending by $q W_q$, $k W_k$ and $v W_v$, split into heads.

    Constructor, arguments of `forward`, shapes, parameters and their start are those of
    `torch.nn.MultiheadAttention`, so that it takes that module's place and its weights; with
    ``attention="softmax"`` it computes the same. Shapes: query (n, batch, embed_dim), key
    (m, batch, kdim), value (m, batch, vdim), with batch_first=True (batch, n, embed_dim) and so on,
    without a batch (n, embed_dim); output as the query.

    Relative to torch: a query that may look at nothing gets the projection of zeros, not NaN; the
    weights that need_weights returns are those before dropout; a mask that is causal, as a table
    too, is given to the attention as such, so that one in linear time can take it.

    Reference: Vaswani et al., Attention Is All You Need, arXiv:1706.03762.

    Args:
        embed_dim: size of the queries and of the output.
        num_heads: number of heads.
        dropout: probability of dropping an attention weight in training; 0.
        bias: whether the projections have one.
        kdim: size of the keys; None: embed_dim.
        vdim: size of the values; None: embed_dim.
        batch_first: whether the batch comes before the length.
        device: of the parameters.
        dtype: of the parameters.
        attention: an option's name, or an `Attention` of one's own.
        options: further arguments of the attention's constructor, num_features=128 say.

    Raises:
        ValueError: an unknown attention or option, one that cannot stand alone, dropout where no
            weights are formed, add_bias_kv or add_zero_attn.

    Example:
        >>> import torch
        >>> from suexp.nn import MultiheadAttention
        >>> layer = MultiheadAttention(8, 2, batch_first=True, attention="performer")
        >>> x = torch.randn(1, 5, 8)
        >>> layer(x, x, x, is_causal=True, need_weights=False)[0].shape
        torch.Size([1, 5, 8])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        attention: str | Attention = "softmax",
        **options: Any,
    ) -> None:
        if add_bias_kv or add_zero_attn:
            raise ValueError(
                "add_bias_kv and add_zero_attn make keys of no token, which no attention here "
                "knows; use torch.nn.MultiheadAttention"
            )
        super().__init__(
            embed_dim,
            num_heads,
            dropout,
            bias,
            kdim=kdim,
            vdim=vdim,
            batch_first=batch_first,
            device=device,
            dtype=dtype,
        )
        # torch's encoder looks here for whether it may compute softmax attention on its own.
        self._qkv_same_embed_dim = False
        if isinstance(attention, str):
            sizes = {"head_dim": self.head_dim, "num_heads": num_heads, "dropout": dropout}
            attention = named(attention, sizes, options)
        elif options:
            raise ValueError(f"{min(options)}: an attention that is made takes no more arguments")
        self.attention = attention.to(device=device, dtype=dtype)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what each query gathers, and by which weights.

        Args:
            query: (n, batch, embed_dim); see the class.
            key: (m, batch, kdim).
            value: (m, batch, vdim).
            key_padding_mask: (batch, m), True where a key is no token; or numbers that are added to
                its scores.
            need_weights: whether the weights are wanted.
            attn_mask: (n, m) or (batch * num_heads, n, m), True where a query may not look at a
                key; or numbers that are added to the scores.
            average_attn_weights: whether the weights are the mean over the heads.
            is_causal: no query sees a later key; attn_mask, which need not be there, is not looked
                at then.

        Raises:
            ValueError: shapes that do not fit, nested tensors, need_weights of an attention that
                forms none, or a mask that it cannot use.
        """
        weigh: Any = getattr(self.attention, "weights", None)
        if need_weights and weigh is None:
            raise ValueError(
                f"{type(self.attention).__name__} forms no weights to return; pass "
                "need_weights=False"
            )
        if query.is_nested:
            raise ValueError(
                "nested tensors are not read; build the encoder with enable_nested_tensor=False"
            )
        batched = query.ndim == 3
        x, y, z = (self._batch_first(part, batched) for part in (query, key, value))
        q, k, v = (
            part.view(*part.shape[:2], self.num_heads, -1).transpose(1, 2)
            for part in self._project(x, y, z)
        )
        if key_padding_mask is not None and not batched:
            key_padding_mask = key_padding_mask[None]
        mask, bias = self._rule(len(x), q.shape[-2], k.shape[-2], attn_mask, is_causal)
        mask, bias = _padded(mask, bias, key_padding_mask)
        bias = None if bias is None else bias.expand(*q.shape[:3], k.shape[2])
        out = self.out_proj(self.attention(q, k, v, mask, bias).transpose(1, 2).flatten(2))
        weights = None
        if need_weights:
            weights = weigh(q, k, mask, bias).to(q.dtype)
            weights = weights.mean(1) if average_attn_weights else weights
        if not batched:
            return out[0], None if weights is None else weights[0]
        return out if self.batch_first else out.transpose(0, 1), weights

    def _batch_first(self, x: Tensor, batched: bool) -> Tensor:
        if not batched:
            return x[None]
        return x if self.batch_first else x.transpose(0, 1)

    def _project(self, *inputs: Tensor) -> list[Tensor]:
        """Return queries, keys and values, the heads side by side."""
        apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        matrices = apart if self.in_proj_weight is None else self.in_proj_weight.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [F.linear(*given) for given in zip(inputs, matrices, biases, strict=True)]

    def _rule(
        self, batch: int, n: int, m: int, table: Tensor | None, is_causal: bool
    ) -> tuple[Mask, Tensor | None]:
        """Return what an attn_mask says as a mask, and what it adds to the scores."""
        if is_causal and n == m:
            return Causal(), None
        if table is None:
            return Bidirectional(), None
        if table.ndim == 3:
            table = table.view(batch, self.num_heads, n, m)
        allowed, bias = of_torch(_forbidding(table))
        if bool(allowed.all()):
            return Bidirectional(), bias
        if n == m and bool((allowed == allowed.new_ones(n, n).tril()).all()):
            return Causal(), bias
        return Table(allowed), bias

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **named: Any
    ) -> None:
        """Take torch's weights too, which hold nothing of the attention's own."""
        own: Mapping[str, Any] = self.attention.state_dict(prefix=f"{prefix}attention.")
        if not own.keys() & state_dict.keys():
            state_dict.update(own)
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)


def _padded(mask: Mask, bias: Tensor | None, padding: Tensor | None) -> tuple[Mask, Tensor | None]:
    """Return the mask and the bias with those of padded keys."""
    if padding is None:
        return mask, bias
    keep, added = of_torch(_forbidding(padding))
    if added is not None:
        added = added[:, None, None]
        bias = added if bias is None else bias + added
    return mask if bool(keep.all()) else mask & Padding(keep), bias


def _forbidding(mask: Tensor) -> Tensor:
    """Return a mask whose booleans forbid as one whose booleans allow."""
    return ~mask if mask.dtype == torch.bool else mask
