"""Transformer: a decoder or an encoder, by its mask."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from suexp.attention.base import Attention
from suexp.errors import MOST_LAYERS, at_least, one_of
from suexp.init.base import Init
from suexp.mask.base import Mask
from suexp.mask.padding import Padding
from suexp.model._shell import Layer, Sharing, Shell, classifier, judged, mlm_head
from suexp.nn.block import Block
from suexp.nn.clone import clone
from suexp.nn.linear import Linear
from suexp.position.base import Position


@dataclass
class DecodingState:
    """What is kept of the text so far: each layer's own state, the length, the bound mask.

    In a batch of texts of different lengths ``keep`` tells which of the tokens so far are real.
    ``hidden`` are the last hidden states that the next tokens' logits were read from.
    """

    layers: list[Any]
    length: int
    mask: Mask
    keep: Bool[Tensor, "b m"] | None = None
    hidden: Float[Tensor, "b c"] | None = None

    def select(self, rows: Int[Tensor, " r"]) -> "DecodingState":
        """Return the state of these texts of the batch, which may repeat (for beams)."""
        layers = tree_map(lambda x: x[rows] if isinstance(x, Tensor) else x, self.layers)
        keep = None if self.keep is None else self.keep[rows]
        hidden = None if self.hidden is None else self.hidden[rows]
        return DecodingState(layers, self.length, self.mask.select(rows), keep, hidden)


class Transformer(Shell):
    r"""$h_0 = \mathrm{embed}(x)$, $h_l = \mathrm{block}_l(h_{l-1})$, $\mathrm{logits} = W\,h_L$.

    Shapes: tokens x (b, n), hidden h (b, n, dim), logits (b, n, vocab_size), or (b, num_outputs) of
    the pooled hidden states, or (b, n, num_labels) to tag each token. Rows of vectors (b, n,
    input_dim), an image's patches say, take the place of tokens where vocab_size is 0; a linear
    layer embeds them (arXiv:2010.11929). With
    norm_order=pre a last norm stands before the output; else each block already ends in one.
    Attention and norm are prototypes, cloned for each layer.

    References: Vaswani et al., Attention Is All You Need, arXiv:1706.03762; Radford et al.,
    Language Models are Unsupervised Multitask Learners (GPT-2); initialisation and norms are the
    subject of https://kexue.fm/archives/8620.

    Args:
        vocab_size: number of tokens; 0: it reads vectors.
        attention: how a query gathers values.
        position: how places are told.
        norm: the norm of every branch.
        mask: what a query may look at.
        init: draws the weights.
        dim: size of the tokens.
        num_layers: number of blocks.
        num_heads: heads of each attention.
        head_dim: size of a head's values; None: dim / num_heads.
        key_dim: size of its queries and keys; None: head_dim. Larger ones give a head's scores a
            higher rank (https://kexue.fm/archives/7325).
        ffn: kind of feed-forward layer, see `suexp.nn.feed_forward`.
        ffn_multiplier: size of its hidden layer over dim; 4 in Vaswani et al.
        norm_order: norms before the branches (pre, GPT-2), after the sums (post, BERT), or one on
            each side of the feed-forward layer (gpt2_ml, Grover; see `suexp.nn.block`).
        tie_embeddings: the output layer is the embedding (arXiv:1608.05859).
        bias: biases in linear layers (GPT-2 and BERT have them, LLaMA not).
        dropout: share set to 0 after the embedding and after each branch.
        pool: what a classifier reads: the mean of the real tokens, the first, or the last of them.
        num_segments: kinds of tokens (source and target, say) that an embedding tells apart; 0:
            none are told.
        embedding_norm: a norm after the embeddings, as in BERT.
        head: ``plain``, logits straight from the hidden states, or ``mlm``, BERT's layer between
            (see `suexp.nn.mlm_head`).
        pooler: a layer between the pooled state and the classifier: true, with a tanh, as in BERT;
            ``linear``, without one, which a language model may have too, for whoever reads the
            state of its first token (`suexp.task.similar_sentence`).
        sharing: what layers have in common: ``all`` of their weights (ALBERT, arXiv:1909.11942),
            those of ``attention`` or ``ffn`` with the norm of that branch, or ``none``. It saves
            parameters, not time (https://kexue.fm/archives/7187).
        sharing_groups: groups of neighbouring layers that share; 1: all layers do.
        num_outputs: number of classes; 0: the pooled state itself, a vector of size dim, is the
            output; None: a language model.
        input_dim: size of the vectors, where vocab_size is 0.
        num_labels: number of labels that each token is judged for by itself; None: it is not.

    Raises:
        ValueError: sizes that do not fit; when called, a text longer than the positions.
    """

    provides = {"layers", "hidden_states", "feed_forward"}
    needs = {
        "text or patches": "it reads tokens or patches; use data=pydoc, data=digits with "
        "data.patch=2, or model=mlp for single vectors"
    }

    def __init__(
        self,
        vocab_size: int,
        attention: Attention,
        position: Position,
        norm: nn.Module,
        mask: Mask,
        init: Init,
        dim: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        head_dim: int | None = None,
        key_dim: int | None = None,
        ffn: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = "gelu",
        ffn_multiplier: int = 4,
        norm_order: Literal["pre", "post", "gpt2_ml"] = "pre",
        tie_embeddings: bool = True,
        bias: bool = False,
        dropout: float = 0.0,
        pool: Literal["mean", "first", "last"] = "mean",
        num_segments: int = 0,
        embedding_norm: bool = False,
        head: Literal["plain", "mlm"] = "plain",
        pooler: bool | Literal["linear"] = False,
        sharing: Sharing = "none",
        sharing_groups: int = 1,
        num_outputs: int | None = None,
        input_dim: int | None = None,
        num_labels: int | None = None,
    ) -> None:
        super().__init__()
        layer = Layer(
            attention=attention,
            position=position,
            norm=norm,
            dim=dim,
            num_heads=num_heads,
            head_dim=head_dim,
            key_dim=key_dim,
            ffn=ffn,
            ffn_multiplier=ffn_multiplier,
            norm_order=norm_order,
            bias=bias,
            dropout=dropout,
        )
        one_of(("mean", "first", "last"), pool=pool)
        at_least(1, most=MOST_LAYERS, num_layers=num_layers)
        one_of(("plain", "mlm"), head=head)
        one_of((False, True, "linear"), pooler=pooler)
        at_least(0, num_segments=num_segments)
        outputs = judged(num_outputs, num_labels)
        if vocab_size == 0 and (input_dim is None or outputs is None):
            raise ValueError(
                "without a vocabulary it needs input_dim and num_outputs: no words to predict"
            )
        self.mask = mask
        self.dim, self.pool = dim, pool
        self.tags = num_labels is not None
        self.embedding = (
            nn.Embedding(vocab_size, dim) if vocab_size else Linear(input_dim or 0, dim, bias)
        )
        self.segment_embedding = nn.Embedding(num_segments, dim) if num_segments else None
        self.position = position
        self.carries = attention.carries
        self.embedding_norm = clone(norm) if embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.sharing = sharing
        self.blocks = layer.blocks(Block, num_layers, sharing, sharing_groups)
        self.norm = layer.last_norm()
        self.pooler: nn.Module = nn.Identity()
        if pooler == "linear":
            self.pooler = Linear(dim, dim)
        elif pooler and num_outputs is not None:
            self.pooler = nn.Sequential(Linear(dim, dim), nn.Tanh())
        self.classifier = classifier(dim, outputs)
        self.head = mlm_head(head, layer, vocab_size, outputs)
        self.output = (
            Linear(dim, vocab_size, bias=False) if outputs is None and not tie_embeddings else None
        )
        init.apply(self)

    def forward(
        self,
        tokens: Int[Tensor, "b n"] | Float[Tensor, "b n i"],
        keep: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        at: Bool[Tensor, "b n"] | None = None,
        **facts: Tensor,
    ) -> Float[Tensor, "b n v"] | Float[Tensor, "k v"] | Float[Tensor, "b c"]:
        """Return the logits.

        Args:
            tokens: the text, or the vectors.
            keep: True for real tokens, False for padding; None: all are real.
            segments: the kind of each token, below ``num_segments``; None: all are of kind 0.
            at: the k places whose logits (k, v) are wanted, in their order; None: all. Where few
                tokens count (masked ones, a target) this saves most of the output layer's time.
            facts: what the mask must know of the batch, see `Mask.bind`.
        """
        hidden = self.hidden(tokens, keep, segments, **facts)
        if self.classifier is None:
            return self.logits(hidden, at)
        if self.tags:
            return self.classifier(hidden)
        return self.classifier(self.pooler(self._pool(hidden, keep)))

    def hidden(
        self,
        tokens: Int[Tensor, "b n"] | Float[Tensor, "b n i"],
        keep: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        **facts: Tensor,
    ) -> Float[Tensor, "b n c"]:
        """Return the last hidden states, after the last norm; arguments as of `forward`."""
        mask = self.mask.bind(**facts)
        if keep is not None:
            mask = mask & Padding(keep)
        places = self._number(tokens.shape[1], tokens.device)
        x, relation = self.embed(tokens, segments, places), self.relate(places, places)
        for block in self.blocks:
            x = block(x, mask, *relation)
        return self.norm(x)

    def decode(
        self,
        tokens: Int[Tensor, "b n"],
        state: DecodingState | None = None,
        keep: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        at: Bool[Tensor, "b n"] | None = None,
        **facts: Tensor,
    ) -> tuple[Float[Tensor, "b n v"] | Float[Tensor, "k v"], DecodingState]:
        """Return the logits of n new tokens, given what was kept of those before.

        Args:
            tokens: the whole prompt at first, then the new tokens.
            state: as returned by the last call; None: a new text.
            keep: True for real tokens, False for padding, wherever it stands; places are counted
                over real tokens only. None: all of the new ones are real.
            segments: the kind of each new token; None: all are of kind 0.
            at: the k new tokens whose logits (k, v) are wanted; None: all.
            facts: what the mask must know of the batch; read at the first call.
        """
        if self.classifier is not None:
            raise ValueError("a classifier does not decode; build the model without num_outputs")
        if state is None:
            self.mask.check_decoding()
            state = DecodingState([None] * len(self.blocks), 0, self.mask.bind(**facts))
        length = state.length + tokens.shape[1]
        real, mask = joined(state, tokens, keep), state.mask
        all_places = self._number(length, tokens.device)
        if real is not None:
            mask = mask & Padding(real)
            all_places = (real.cumsum(1) - 1).clamp(min=0)
        new_places = all_places[..., state.length :]
        x = self.embed(tokens, segments, new_places)
        relation = self.relate(new_places, all_places)
        layers: list[Any] = []
        for block, past in zip(self.blocks, state.layers, strict=True):
            x, present = block.decode(x, mask, *relation, past)  # type: ignore[operator]
            layers.append(present)
        x = self.norm(x)
        logits = self.logits(x, at)
        last = x[:, -1] if at is None else x[at]
        return logits, DecodingState(layers, length, state.mask, real, last)

    def embed(self, tokens: Tensor, segments: Tensor | None, places: Tensor) -> Tensor:
        """Return what the first block reads, (b, n, dim)."""
        x = self.embedding(tokens)
        if self.segment_embedding is not None:
            kinds = tokens.new_zeros(tokens.shape[:2], dtype=torch.long)
            x = x + self.segment_embedding(kinds if segments is None else segments)
        return self.dropout(self.embedding_norm(self.position.embed(x, places)))

    def _pool(self, hidden: Tensor, keep: Tensor | None) -> Tensor:
        if keep is None:
            if self.pool == "mean":
                return hidden.mean(1)
            return hidden[:, 0 if self.pool == "first" else -1]
        if self.pool == "mean":
            weight = keep.unsqueeze(-1).to(hidden.dtype)
            return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        places = torch.arange(keep.shape[1], device=keep.device)
        chosen = (
            keep.int().argmax(1)
            if self.pool == "first"
            else places.where(keep, places.new_zeros(())).amax(1)
        )
        return hidden[torch.arange(len(hidden), device=hidden.device), chosen]


def joined(state: DecodingState, tokens: Tensor, keep: Tensor | None) -> Bool[Tensor, "b m"] | None:
    """Return which tokens are real, those so far and the new ones; None: all of them."""
    if keep is None and state.keep is None:
        return None
    new = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    old = state.keep
    if old is None:
        old = new.new_ones(len(tokens), state.length)
    return torch.cat((old, new), 1)
