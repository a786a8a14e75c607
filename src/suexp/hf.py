"""Attentions in the models of transformers, by ``attn_implementation``."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from suexp.attention._named import named
from suexp.attention.base import Attention
from suexp.errors import UserError
from suexp.mask.base import Mask
from suexp.mask.bidirectional import Bidirectional
from suexp.mask.causal import Causal
from suexp.mask.padding import Padding
from suexp.mask.table import Table, of_torch

# What some models ask of their attention beside the scores, by transformers' names.
_UNKNOWN = ("softcap", "s_aux", "cache")


def register(
    name: str, make: Callable[..., Attention] | None = None, *, seed: int = 0, **options: Any
) -> str:
    r"""Make an attention known to transformers, under its name.

    Each attention layer of a model gets one of its own when it is first called; queries and keys
    come with the model's positions in them, (batch, heads, length, dim), and the scores are scaled
    as the model says. Padding counts; one that never forms the scores serves causal and
    bidirectional models, and decodes from transformers' default cache, whose keys it then reads
    anew at each token.

    What it draws belongs to the seed and the layer, not to the model's weights, so that a model
    that was saved and loaded computes the same; Performer's directions are therefore not drawn
    anew while it trains, unless ``redraw_interval`` is given.

    Reference: https://huggingface.co/docs/transformers/attention_interface.

    Args:
        name: an option's, ``performer`` say, or a new one with ``make``.
        make: makes an attention of one's own, given the options; None: the option of that name.
        seed: of what the attentions draw.
        options: arguments of the attention's constructor.

    Returns:
        The name, for ``attn_implementation``.

    Raises:
        UserError: transformers is not installed.
        ValueError: an unknown attention or option, or one with weights of its own, which the model
            would neither train nor save.

    Example:
        >>> import suexp.hf, torch
        >>> from transformers import AutoModelForCausalLM, LlamaConfig
        >>> sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
        >>> config = LlamaConfig(vocab_size=9, num_hidden_layers=1, **sizes)
        >>> name = suexp.hf.register("performer", num_features=32)
        >>> model = AutoModelForCausalLM.from_config(config, attn_implementation=name)
        >>> model(torch.tensor([[1, 2, 3]])).logits.shape
        torch.Size([1, 3, 9])
    """
    try:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask
    except ImportError as error:
        raise UserError("suexp.hf needs transformers: pip install 'suexp[hf]'") from error
    layers = _Layers(name, make, seed, options)
    sample = layers.made(head_dim=8, num_heads=2)
    if next(sample.parameters(), None) is not None:
        raise ValueError(
            f"attention={name} has weights of its own, which the model would neither train nor "
            "save; build it into the model, or choose another"
        )
    sparse = any(feature.startswith("key_subsets") for feature in type(sample).refuses)
    AttentionInterface.register(name, layers)
    AttentionMaskInterface.register(name, _rules(name) if sparse else sdpa_mask)
    return name


class _Layers:
    """What transformers calls: the attention of each layer, and how the two speak together."""

    def __init__(
        self, name: str, make: Callable[..., Attention] | None, seed: int, options: dict[str, Any]
    ) -> None:
        self.name, self.make, self.seed, self.options = name, make, seed, options
        self.known: WeakKeyDictionary[nn.Module, Attention] = WeakKeyDictionary()

    def made(self, layer: int = 0, **sizes: int) -> Attention:
        """Return the attention of a layer."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + layer)
            if self.make is not None:
                return self.make(**self.options)
            return named(self.name, {**sizes, "redraw_interval": None}, self.options)

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        is_causal: bool | None = None,
        position_bias: Tensor | None = None,
        **more: Any,
    ) -> tuple[Tensor, None]:
        """Attend, by transformers' convention for attention functions."""
        for word in _UNKNOWN:
            if more.get(word) is not None:
                raise ValueError(
                    f"attention={self.name} does not know {word}, which this model asks for; use "
                    'attn_implementation="eager"'
                )
        _, heads, n, size = query.shape
        attention = self._of(module, heads, size).to(query.device).train(module.training)
        if hasattr(attention, "dropout"):
            attention.dropout = dropout  # type: ignore[assignment]
        elif dropout:
            raise ValueError(
                f"attention={self.name} forms no weights that could be dropped; set the config's "
                "attention dropout to 0"
            )
        if scaling is not None and scaling != size**-0.5:
            query = query * (scaling * size**0.5)
        if key.shape[1] != heads:  # grouped queries
            key, value = (x.repeat_interleave(heads // x.shape[1], 1) for x in (key, value))
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        mask, bias = _read(attention_mask, causal and n > 1)
        if position_bias is not None:
            bias = position_bias if bias is None else bias + position_bias
        if bias is not None:
            bias = bias.expand(*query.shape[:3], key.shape[2])
        if attention_mask is None and causal and 1 < n < key.shape[2]:
            key, value = key[:, :, :n], value[:, :, :n]  # a cache with places for what is to come
        return attention(query, key, value, mask, bias).transpose(1, 2).contiguous(), None

    def _of(self, module: nn.Module, heads: int, size: int) -> Attention:
        if module not in self.known:
            layer = getattr(module, "layer_idx", None) or 0
            self.known[module] = self.made(layer, head_dim=size, num_heads=heads)
        return self.known[module]


def _rules(name: str) -> Callable[..., Tensor]:
    """Return what makes masks without a table: (batch, keys) if causal, else (batch, 1, 1, keys).

    True where a key is a token.
    """
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

    def rule(
        batch_size: int,
        q_length: int,
        kv_length: int,
        q_offset: Any = 0,
        kv_offset: int = 0,
        mask_function: Callable[..., Any] = causal_mask_function,
        attention_mask: Tensor | None = None,
        device: Any = None,
        **_: Any,
    ) -> Tensor:
        if mask_function not in (causal_mask_function, bidirectional_mask_function):
            raise ValueError(
                f"attention={name} sees all keys or all earlier ones: no sliding window, chunks or "
                "several texts in a row; use attention=softmax"
            )
        causal = mask_function is causal_mask_function
        if causal and int(q_offset) + q_length != kv_offset + kv_length:
            raise ValueError(
                f"attention={name} cannot read a cache with places for what is to come; use "
                "transformers' default, cache_implementation=None"
            )
        if attention_mask is None:
            keep = torch.ones(batch_size, kv_length, dtype=torch.bool, device=device)
        else:
            keep = attention_mask[:, kv_offset : kv_offset + kv_length].bool()
        return keep if causal else keep[:, None, None]

    return rule


def _read(given: Tensor | None, causal: bool) -> tuple[Mask, Tensor | None]:
    """Return a mask of transformers' as one of ours, and what it adds to the scores."""
    if given is None:
        return Causal() if causal else Bidirectional(), None
    if given.ndim == 2:
        return Padding(given) & Causal(), None
    allowed, bias = of_torch(given)
    if given.shape[1:3] == (1, 1):
        return Padding(allowed[:, 0, 0]), bias
    return Table(allowed), bias
