"""T-TA: a Transformer whose outputs know every token but their own."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.attention.base import Attention
from suexp.errors import MOST_LAYERS, at_least, one_of
from suexp.init.base import Init
from suexp.mask.base import Mask
from suexp.mask.padding import Padding
from suexp.model._shell import Layer, Relations, Shell, classifier, judged, mlm_head
from suexp.nn.block import Block
from suexp.nn.clone import clone
from suexp.position.base import Position


class Reader(Block):
    """A block whose queries read a source, not each other; the arguments are those of `Block`."""

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "b n c"],
        source: Float[Tensor, "b n c"],
        mask: Mask,
        relations: Relations,
    ) -> Float[Tensor, "b n c"]:
        """Return the queries after both branches."""
        x = self.add(x, lambda y: self.attention(y, mask, *relations, source), self.attention_norm)
        return self.add(x, self.feed_forward, self.feed_forward_norm)


class TTA(Shell):
    r"""$Q_l = \mathrm{block}_l(Q_{l-1}; X)$: queries begin without tokens, X is what was embedded.

    Each block is an attention of the queries to X, with the diagonal masked, and a feed-forward
    layer. Output i is a function of $X_j$, $j \ne i$, in every layer, because queries do not mix
    and keys and values are never updated; so one pass predicts every token from all others. Two
    tokens of the context never interact before a query reads them. A query that may look at nothing
    gathers zeros. Shapes: tokens (b, n), X and $Q_l$ (b, n, dim), logits (b, n, vocab_size), or
    (b, num_outputs) of their mean, or (b, n, num_labels).

    With $Q_0 = P$ (``position``) as in the post, or $Q_0 = m + P$ (``mask``) with a vector m, the
    row of [MASK] in the paper's code, where nothing else reads it. P is what the position code
    embeds, which may be nothing: rotary codes act on queries and keys as usual. For use after
    training the diagonal may be freed (``mask=bidirectional``) and the queries may begin with the
    tokens (``token``).

    References: Shin et al., Fast and Accurate Deep Bidirectional Language Representations for
    Unsupervised Learning, arXiv:2004.08097; https://kexue.fm/archives/7661.

    Args:
        vocab_size: number of tokens.
        attention: how a query gathers values.
        position: how places are told.
        norm: the norm of every branch.
        mask: what a query may look at; ``exclude_self`` to train.
        init: draws the weights.
        dim: size of the tokens; 512 in the paper.
        num_layers: number of blocks; 3 in the paper.
        num_heads: heads of each attention; 8 in the paper.
        head_dim: size of a head's values; None: dim / num_heads.
        key_dim: size of its queries and keys; None: head_dim.
        ffn: kind of feed-forward layer, see `suexp.nn.feed_forward`.
        ffn_multiplier: size of its hidden layer over dim.
        norm_order: norms after the sums (post, as in the paper) or before the branches (pre).
        embedding_norm: one norm for $Q_0$ and X, as in the paper's code; false as in the post.
        bias: biases in linear layers.
        dropout: share set to 0 after the embedding and after each branch.
        query_init: ``mask``, ``position`` or ``token``, see above.
        update_kv: keys and values of later layers come from the queries; output i then sees token i
            from the second layer on, as a control.
        head: ``plain``, or ``mlm``, BERT's layer before the vocabulary.
        num_outputs: number of classes, told from the mean over the real tokens; 0: the mean itself;
            None: a language model.
        num_labels: number of labels that each token is judged for by itself; None: it is not.

    Raises:
        ValueError: sizes that do not fit; when called, a text longer than the positions.
    """

    provides = {"queries_without_tokens", "layers", "hidden_states", "feed_forward"}
    needs = {"text": "it reads tokens; use data=pydoc, or model=mlp for vectors"}
    refuses = {
        "autoregressive": "its queries look to both sides of their token; use mask=exclude_self",
        "own_labels if update_kv": "with updated keys output i sees token i from the second layer "
        "on; use model.update_kv=false, or task.allow_leak=true for the control",
        "own_labels if query_init=token": "its queries begin with their tokens; use "
        "model.query_init=mask",
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
        num_layers: int = 3,
        num_heads: int = 4,
        head_dim: int | None = None,
        key_dim: int | None = None,
        ffn: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = "gelu",
        ffn_multiplier: int = 4,
        norm_order: Literal["pre", "post"] = "post",
        embedding_norm: bool = True,
        bias: bool = False,
        dropout: float = 0.0,
        query_init: Literal["mask", "position", "token"] = "mask",
        update_kv: bool = False,
        head: Literal["plain", "mlm"] = "plain",
        num_outputs: int | None = None,
        num_labels: int | None = None,
    ) -> None:
        super().__init__()
        one_of(("pre", "post"), norm_order=norm_order)
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
        one_of(("mask", "position", "token"), query_init=query_init)
        at_least(1, most=MOST_LAYERS, num_layers=num_layers)
        one_of(("plain", "mlm"), head=head)
        outputs = judged(num_outputs, num_labels)
        self.mask, self.position, self.carries = mask, position, attention.carries
        self.dim, self.tags = dim, num_labels is not None
        self.query_init, self.update_kv = query_init, update_kv
        self.embedding = nn.Embedding(vocab_size, dim)
        self.query = nn.Embedding(1, dim) if query_init == "mask" else None
        self.embedding_norm = clone(norm) if embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.blocks = layer.blocks(Reader, num_layers)
        self.norm = layer.last_norm()
        self.classifier = classifier(dim, outputs)
        self.head = mlm_head(head, layer, vocab_size, outputs)
        self.output = None
        init.apply(self)

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        keep: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        at: Bool[Tensor, "b n"] | None = None,
        **facts: Tensor,
    ) -> Float[Tensor, "b n v"] | Float[Tensor, "k v"] | Float[Tensor, "b c"]:
        """Return the logits.

        Args:
            tokens: the texts.
            keep: True for real tokens, False for padding; None: all are real.
            segments: not read, the paper has none.
            at: the k places whose logits (k, v) are wanted, in their order; None: all.
            facts: what the mask must know of the batch, see `Mask.bind`.
        """
        del segments
        hidden = self.hidden(tokens, keep, **facts)
        if self.classifier is None:
            return self.logits(hidden, at)
        if self.tags:
            return self.classifier(hidden)
        weight = torch.ones_like(hidden[..., :1]) if keep is None else keep[..., None].to(hidden)
        return self.classifier((hidden * weight).sum(1) / weight.sum(1).clamp(min=1))

    def hidden(
        self, tokens: Int[Tensor, "b n"], keep: Bool[Tensor, "b n"] | None = None, **facts: Tensor
    ) -> Float[Tensor, "b n c"]:
        """Return the last queries, after the last norm; arguments as of `forward`."""
        mask = self.mask.bind(**facts)
        if keep is not None:
            mask = mask & Padding(keep)
        places = self._number(tokens.shape[1], tokens.device)
        source = x = self._embed(self.embedding(tokens), places)
        if self.query is not None:
            x = self._embed(self.query(torch.zeros_like(tokens)), places)
        elif self.query_init == "position":
            x = self._embed(torch.zeros_like(source), places)
        relations = self.relate(places, places)
        for i, block in enumerate(self.blocks):
            x = block(x, x if self.update_kv and i else source, mask, relations)
        return self.norm(x)

    def _embed(self, x: Tensor, places: Tensor) -> Tensor:
        return self.dropout(self.embedding_norm(self.position.embed(x, places)))
