"""What the transformers share: the parts that their layers are made of, and what leads to words."""

import functools
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.attention.base import Attention, Carried
from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least, between, one_of
from suexp.mask.base import Mask
from suexp.nn.block import Block, NormOrder
from suexp.nn.clone import clone
from suexp.nn.feed_forward import FeedForward
from suexp.nn.linear import Linear, Multiplies
from suexp.nn.mlm_head import MLMHead
from suexp.nn.multi_head import MultiHeadAttention, Rotate, head_sizes
from suexp.position.base import Position

Relations = tuple[Rotate, Tensor | None, Carried | None]
B = TypeVar("B", bound=Block)
Sharing = Literal["none", "all", "attention", "ffn"]


@dataclass
class Layer:
    """The parts of a network's layers; arguments as of `suexp.model.transformer.Transformer`.

    Attention and norm are prototypes, cloned for each layer.

    Raises:
        ValueError: sizes that do not fit.
    """

    attention: Attention
    position: Position
    norm: nn.Module
    dim: int
    num_heads: int
    head_dim: int | None
    key_dim: int | None
    ffn: Literal["gelu", "gelu_tanh", "relu", "swiglu"]
    ffn_multiplier: int
    norm_order: NormOrder
    bias: bool
    dropout: float

    def __post_init__(self) -> None:
        at_least(1, dim=self.dim, num_heads=self.num_heads, ffn_multiplier=self.ffn_multiplier)
        between("[0, 1)", dropout=self.dropout)
        self.sizes = head_sizes(
            self.dim,
            self.num_heads,
            self.head_dim,
            self.key_dim,
            attention=self.attention,
            position=self.position,
        )

    def attend(self) -> MultiHeadAttention:
        """Return an attention with its projections."""
        head_dim, key_dim = self.sizes
        attention = clone(self.attention)
        return MultiHeadAttention(
            self.dim, self.num_heads, head_dim, attention, self.bias, self.dropout, key_dim
        )

    def block(self, kind: type[B]) -> B:
        """Return a layer."""
        attention = self.attend()
        hidden = self.ffn_multiplier * self.dim
        feed_forward = FeedForward(self.dim, hidden, self.ffn, self.bias, self.dropout)
        return kind(attention, feed_forward, self.norm, self.norm_order)

    def blocks(
        self, kind: type[B], number: int, sharing: Sharing = "none", groups: int = 1
    ) -> nn.ModuleList:
        """Return so many layers.

        Args:
            kind: of layer.
            number: of layers.
            sharing: what the layers of a group have in common: all, one of the branches with its
                norm, or nothing.
            groups: of neighbours; layer l is of group floor(l groups / number).

        Raises:
            ValueError: there are to be none, or more groups than layers.
        """
        at_least(1, most=MOST_LAYERS, num_layers=number)
        one_of(get_args(Sharing), sharing=sharing)
        if not 1 <= groups <= number:
            raise ValueError(f"sharing_groups={groups} must be from 1 to num_layers={number}")
        parts = {
            "none": (),
            "all": (),
            "attention": ("attention", "attention_norm"),
            "ffn": ("feed_forward", "feed_forward_norm"),
        }[sharing]
        firsts: dict[int, B] = {}
        found: list[B] = []
        for layer in range(number):
            first = firsts.get(layer * groups // number)
            block = first if sharing == "all" and first is not None else self.block(kind)
            for part in parts if first is not None else ():
                setattr(block, part, getattr(first, part))
            firsts.setdefault(layer * groups // number, block)
            found.append(block)
        return nn.ModuleList(found)

    def last_norm(self) -> nn.Module:
        """Return the norm after the last layer, where that does not end in one itself."""
        return clone(self.norm) if self.norm_order == "pre" else nn.Identity()


class Shell(Multiplies, nn.Module, Component):
    """A network of `Layer`s with tokens at one end and logits at the other.

    A subclass sets these in its constructor, in the order in which their weights are drawn.

    Attributes:
        mask: what a query may look at.
        position: how places are told.
        carries: whether attentions hand something from layer to layer.
        embedding: vectors of the tokens.
        head: BERT's layer before the vocabulary, if there is one.
        output: the output layer, where it is not the embedding.
        embeds: the parts that turn tokens into vectors; see `suexp.nn.intervene`.
    """

    embeds: ClassVar[tuple[str, ...]] = ("embedding",)
    mask: Mask
    position: Position
    carries: bool
    embedding: nn.Module
    head: MLMHead | None
    output: Linear | None
    _places: Tensor | None = None

    def relate(self, query: Tensor, key: Tensor) -> Relations:
        """Return what all layers share: what positions do, and what goes from layer to layer."""
        rotate = functools.partial(self.position.rotate, positions=query)
        return rotate, self.position.bias(query, key), Carried() if self.carries else None

    def _number(self, length: int, device: torch.device) -> Int[Tensor, " n"]:
        """Return 0 .. length - 1: one tensor while the length stays, so that others can cache."""
        self.position.check_length(length)
        if self._places is None or len(self._places) != length or self._places.device != device:
            # Numbers first made in a validation step (inference mode) must serve training too.
            with torch.inference_mode(False):
                self._places = torch.arange(length, device=device)
        return self._places

    def logits(
        self, hidden: Float[Tensor, "b n d"], at: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b n v"] | Float[Tensor, "k v"]:
        """Return the logits of last hidden states over the vocabulary; ``at``: of these k places.

        One pass of ``hidden`` then serves a language model's loss and a vector of the text.
        """
        hidden = hidden if at is None else hidden[at]
        bias = None if self.head is None else self.head.bias
        hidden = hidden if self.head is None else self.head(hidden)
        if self.output is not None:
            return self.output(hidden) if bias is None else self.output(hidden) + bias
        weight: Tensor = self.embedding.weight  # type: ignore[assignment]
        return self.product(hidden, weight, bias)


def judged(num_outputs: int | None, num_labels: int | None) -> int | None:
    """Return how many numbers a classifier gives: for a text, or each token; None: it is none.

    Raises:
        ValueError: both are asked for.
    """
    if num_outputs is not None and num_labels is not None:
        raise ValueError("num_outputs judges whole texts, num_labels each token: give one")
    return num_labels if num_outputs is None else num_outputs


def classifier(dim: int, outputs: int | None) -> nn.Module | None:
    """Return the layer that judges states; 0 outputs: the state itself is the output."""
    if outputs is None:
        return None
    return Linear(dim, outputs) if outputs else nn.Identity()


def mlm_head(
    head: Literal["plain", "mlm"], layer: Layer, vocab_size: int, outputs: int | None = None
) -> MLMHead | None:
    """Return BERT's layer before the vocabulary, if there is to be one."""
    if head != "mlm" or outputs is not None:
        return None
    return MLMHead(layer.dim, vocab_size, layer.ffn, layer.norm)
