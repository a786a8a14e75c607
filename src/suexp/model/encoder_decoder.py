"""Two networks for sequence to sequence: one reads the source, the other writes the target."""

import functools
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.attention.base import Attention, Carried
from suexp.errors import MOST_LAYERS, at_least, one_of
from suexp.init.base import Init
from suexp.mask.base import Mask
from suexp.mask.bidirectional import Bidirectional
from suexp.mask.padding import Padding
from suexp.model._shell import Layer, Shell, mlm_head
from suexp.model.transformer import DecodingState
from suexp.nn.block import Block
from suexp.nn.clone import clone
from suexp.nn.multi_head import MultiHeadAttention, Rotate
from suexp.position.base import Position


class EncoderDecoder(Shell):
    r"""$h = \mathrm{encode}(x)$, $p(y_t | x, y_{<t}) = \mathrm{decode}(y_{<t}, h)$.

    It reads the very rows $x\,e\,y\,e$ that a single network reads: the first ``prefix_length``
    tokens of a row are the encoder's, the decoder begins with the last of them, the e that closes
    the source. Each block of the decoder also attends to the encoder's last states; places are
    counted from 0 on both sides. Both share one embedding. Shapes: tokens (b, n), logits
    (b, n, vocab_size), those inside the source without meaning.

    A decoder's block holds a third more parameters (16 dim^2) than an encoder's or a single
    network's (12 dim^2, with ffn_multiplier=4).

    References: Vaswani et al., Attention Is All You Need, arXiv:1706.03762; the rival of one
    network with a mask in https://kexue.fm/archives/6933.

    Args:
        vocab_size: number of tokens.
        attention: how a query gathers values.
        position: how places are told.
        norm: the norm of every branch.
        mask: what a target's token may look at among the targets.
        init: draws the weights.
        dim: size of the tokens.
        num_layers: number of the decoder's blocks.
        num_encoder_layers: number of the encoder's blocks.
        num_heads: heads of each attention.
        head_dim: size of a head's values; None: dim / num_heads.
        key_dim: size of its queries and keys; None: head_dim.
        ffn: kind of feed-forward layer, see `suexp.nn.feed_forward`.
        ffn_multiplier: size of its hidden layer over dim.
        norm_order: norms before the branches (pre) or after the sums (post).
        bias: biases in linear layers.
        dropout: share set to 0 after the embedding and after each branch.
        head: ``plain``, or ``mlm``, BERT's layer before the vocabulary.

    Raises:
        ValueError: sizes that do not fit; when called, a text longer than the positions, or no
            prefix lengths.
    """

    needs = {"task=seq2seq": "it reads sources and targets; use model=transformer elsewhere"}
    refuses = {"mask=prefix": "its encoder sees the whole source already; use mask=causal"}
    provides = {"later_keys", "layers", "feed_forward"}  # its encoder looks both ways

    def __init__(
        self,
        vocab_size: int,
        attention: Attention,
        position: Position,
        norm: nn.Module,
        mask: Mask,
        init: Init,
        dim: int = 128,
        num_layers: int = 1,
        num_encoder_layers: int = 1,
        num_heads: int = 4,
        head_dim: int | None = None,
        key_dim: int | None = None,
        ffn: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = "gelu",
        ffn_multiplier: int = 4,
        norm_order: Literal["pre", "post"] = "pre",
        bias: bool = False,
        dropout: float = 0.0,
        head: Literal["plain", "mlm"] = "plain",
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
        at_least(1, most=MOST_LAYERS, num_layers=num_layers, num_encoder_layers=num_encoder_layers)
        one_of(("plain", "mlm"), head=head)
        self.mask, self.position, self.carries = mask, position, attention.carries
        self.embedding = nn.Embedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.encoder = layer.blocks(Block, num_encoder_layers)
        self.encoder_norm = layer.last_norm()
        self.blocks = nn.ModuleList(
            CrossBlock(layer.block(Block), layer.attend(), clone(norm)) for _ in range(num_layers)
        )
        self.norm = layer.last_norm()
        self.head = mlm_head(head, layer, vocab_size)
        self.output = None
        init.apply(self)

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        keep: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        at: Bool[Tensor, "b n"] | None = None,
        prefix_length: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b n v"] | Float[Tensor, "k v"]:
        """Return the logits.

        Args:
            tokens: sources, each followed by its target; padding stands on the right.
            keep: True for real tokens, False for padding; None: all are real.
            segments: not read; the two networks tell the two texts apart.
            at: the k places whose logits (k, v) are wanted; None: all.
            prefix_length: tokens of each source, at least 1.
        """
        del segments
        context, real = self._encode(tokens, prefix_length)
        lengths = torch.full_like(tokens[:, 0], tokens.shape[1]) if keep is None else keep.sum(1)
        steps = int((lengths - real.sum(1)).amax()) + 1
        first = real.sum(1, keepdim=True) - 1
        places = first + torch.arange(steps, device=tokens.device)
        there = places < lengths[:, None]
        rows, columns = there.nonzero(as_tuple=True)
        target = tokens.gather(1, places.clamp(max=tokens.shape[1] - 1))
        x, relate = self._embed(target), self._relate(steps, 0, tokens.device)
        blocks: Any = self.blocks
        for block in blocks:
            x = block(x, block.cross.read(context), self.mask, Padding(real), *relate)
        hidden = x.new_zeros(*tokens.shape, x.shape[-1])
        hidden = hidden.index_put((rows, places[there]), self.norm(x)[rows, columns])
        return self.logits(hidden, at)

    def decode(
        self,
        tokens: Int[Tensor, "b n"],
        state: DecodingState | None = None,
        keep: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        at: Bool[Tensor, "b n"] | None = None,
        prefix_length: Int[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "b n v"] | Float[Tensor, "k v"], DecodingState]:
        """Return the logits of new tokens: of the sources at first, then of target tokens.

        Args:
            tokens: the sources; then new tokens of the target.
            state: as returned by the last call; None: new texts.
            keep: True for the sources' real tokens; None: all are.
            segments: not read.
            at: the k places whose logits (k, v) are wanted; None: all. Of a source only the last
                token's have a meaning.
            prefix_length: tokens of each source, read at the first call; None: by ``keep``.
        """
        del segments
        if state is not None:
            x, state = self._advance(tokens, state)
            return self.logits(x, at), state
        self.mask.check_decoding()
        if prefix_length is None:
            whole = torch.full_like(tokens[:, 0], tokens.shape[1])
            prefix_length = whole if keep is None else keep.sum(1)
        context, real = self._encode(tokens, prefix_length)
        blocks: Any = self.blocks
        layers = [(None, block.cross.read(context)) for block in blocks]
        rows, last = torch.arange(len(tokens), device=tokens.device), real.sum(1) - 1
        first = DecodingState(layers, 0, self.mask, real)
        x, state = self._advance(tokens[rows, last][:, None], first)
        hidden = x.new_zeros(*tokens.shape, x.shape[-1])
        hidden[rows, last] = x[:, 0]
        return self.logits(hidden, at), state

    def _encode(self, tokens: Tensor, prefix_length: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the encoder's states (b, m, dim), and which of them are real."""
        if prefix_length is None:
            raise ValueError("model=encoder_decoder needs prefix_length, the sources' lengths")
        width = int(prefix_length.amax())
        real = torch.arange(width, device=tokens.device) < prefix_length[:, None]
        x, relate = self._embed(tokens[:, :width]), self._relate(width, 0, tokens.device)
        mask = Bidirectional() & Padding(real)
        for block in self.encoder:
            x = block(x, mask, *relate)
        return self.encoder_norm(x), real

    def _advance(self, tokens: Tensor, state: DecodingState) -> tuple[Tensor, DecodingState]:
        """Return the decoder's hidden states of new target tokens, and the new state."""
        assert state.keep is not None
        length = state.length + tokens.shape[1]
        x = self._embed(tokens, state.length)
        relate = self._relate(length, state.length, tokens.device)
        layers = []
        for block, (past, context) in zip(self.blocks, state.layers, strict=True):
            x, past = block.decode(x, context, state.mask, Padding(state.keep), *relate, past)  # type: ignore[operator]
            layers.append((past, context))
        x = self.norm(x)
        return x, DecodingState(layers, length, state.mask, state.keep, x[:, -1])

    def _embed(self, tokens: Tensor, start: int = 0) -> Tensor:
        self.position.check_length(start + tokens.shape[1])
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        return self.dropout(self.position.embed(self.embedding(tokens), places))

    def _relate(
        self, length: int, start: int, device: torch.device
    ) -> tuple[Rotate, Tensor | None, Carried | None]:
        """Return what all layers share: the last tokens' relation to all so far."""
        key = torch.arange(length, device=device)
        rotate = functools.partial(self.position.rotate, positions=key[start:])
        carried = Carried(cross=Carried()) if self.carries else None
        return rotate, self.position.bias(key[start:], key), carried


class CrossBlock(nn.Module):
    """A block that looks up an encoder's states between its attention and its feed-forward layer.

    Args:
        block: attention among the targets, and the feed-forward layer.
        cross: attention to the encoder's states.
        cross_norm: the norm of that branch.
    """

    def __init__(self, block: Block, cross: MultiHeadAttention, cross_norm: nn.Module) -> None:
        super().__init__()
        self.block, self.cross, self.cross_norm = block, cross, cross_norm

    def forward(
        self,
        x: Tensor,
        context: tuple[Tensor, Tensor],
        mask: Mask,
        real: Mask,
        rotate: Rotate,
        bias: Tensor | None,
        carried: Carried | None,
    ) -> Tensor:
        """Return the tokens after the three branches."""
        block = self.block
        x = block.add(
            x, lambda y: block.attention(y, mask, rotate, bias, carried), block.attention_norm
        )
        x = self._cross(x, context, real, carried)
        return block.add(x, block.feed_forward, block.feed_forward_norm)

    def decode(
        self,
        x: Tensor,
        context: tuple[Tensor, Tensor],
        mask: Mask,
        real: Mask,
        rotate: Rotate,
        bias: Tensor | None,
        carried: Carried | None,
        past: Any,
    ) -> tuple[Tensor, Any]:
        """Return new tokens after the three branches, and what the first attention keeps."""
        block = self.block

        def attend(y: Tensor) -> Tensor:
            nonlocal past
            y, past = block.attention.decode(y, mask, rotate, bias, carried, past)
            return y

        x = block.add(x, attend, block.attention_norm)
        x = self._cross(x, context, real, carried)
        return block.add(x, block.feed_forward, block.feed_forward_norm), past

    def _cross(
        self,
        x: Tensor,
        context: tuple[Tensor, Tensor],
        real: Mask,
        carried: Carried | None,
    ) -> Tensor:
        """Return the tokens after the second branch; its scores are carried on by themselves."""
        other = None if carried is None else carried.cross

        def look(y: Tensor) -> Tensor:
            return self.cross.look_up(y, context, real, carried=other)

        return self.block.add(x, look, self.cross_norm)
