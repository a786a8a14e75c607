"""UniVAE: encoder and decoder in one transformer, with a code at each of several layers."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from suexp.attention.base import Attention
from suexp.errors import MOST_LAYERS, at_least, one_of
from suexp.init.base import Init
from suexp.mask.base import Mask
from suexp.mask.independent import Independent
from suexp.mask.padding import Padding
from suexp.mask.uniae import UniAE
from suexp.model._shell import Layer, Shell
from suexp.model.transformer import DecodingState, joined
from suexp.nn.block import Block
from suexp.nn.bottleneck import Bottleneck
from suexp.nn.latent import Codebook, DiagonalGaussian, Direction, Drawn, Latent, VonMisesFisher
from suexp.position.base import Position

LATENTS = ("vmf", "gaussian", "vq", "deterministic", "none")


class Reading(NamedTuple):
    """What one pass over texts and their copies gives.

    Attributes:
        logits: of all places, or of those that were asked for.
        codes: of each text, layer by layer; given ones come back.
        kl: the divergence of each, in nats; None where codes were given.
        penalty: of each text, what training adds beside; None likewise.
    """

    logits: Float[Tensor, "b n v"] | Float[Tensor, "k v"]
    codes: Float[Tensor, "b l d"]
    kl: Float[Tensor, "b l"] | None
    penalty: Float[Tensor, " b"] | None


class UniVAE(Shell):
    r"""$z_l = \mathrm{draw}(W^\downarrow_l h_{l,0})$, $h_{l,0} \leftarrow W^\uparrow_l z_l$, block.

    It reads a text twice in a row, $[x; x]$ of one length: the first half, the source, looks both
    ways, the second, the target, to its past. In the first layers neither sees the other
    (`suexp.mask.independent`); in the last ``num_latent_layers`` all see the source's first place
    (`suexp.mask.uniae`), whose state has passed through a code. What the target knows of the source
    is these codes, num_latent_layers * latent_dim numbers. With all layers latent, the first code
    is the same for all texts: the embedding of one token. Places are counted on from the source to
    the target. While it trains, codes are drawn; otherwise they are the means.

    Shapes: tokens (b, 2 n), logits (b, 2 n, vocab_size), those of the source without meaning, codes
    (b, num_latent_layers, latent_dim).

    Post: https://kexue.fm/archives/8475. Papers: UniLM, arXiv:1905.03197; vMF: arXiv:1804.00891;
    VQ-VAE, arXiv:1711.00937.

    Args:
        vocab_size: number of tokens.
        attention: how a query gathers values.
        position: how places are told.
        norm: the norm of every branch.
        init: draws the weights.
        dim: size of the tokens.
        num_layers: number of blocks; 12 in the post.
        num_heads: heads of each attention.
        head_dim: size of a head's values; None: dim / num_heads.
        key_dim: size of its queries and keys; None: head_dim.
        ffn: kind of feed-forward layer, see `suexp.nn.feed_forward`.
        ffn_multiplier: size of its hidden layer over dim.
        norm_order: norms before the branches (pre) or after the sums (post).
        bias: biases in linear layers.
        dropout: share set to 0 after the embedding and after each branch.
        latent: ``vmf``, ``gaussian``, ``vq``, ``deterministic`` (a direction without noise), or
            ``none``: the target learns nothing of the source and is a language model.
        num_latent_layers: the last layers that have a code; 4 in the post; 0 for latent=none.
        latent_dim: numbers of each code.
        kappa: concentration of vmf.
        codebook_size: entries of each layer's codebook, for vq.
        mask_padding: nobody looks at padding; false: it may, as in the author's code.

    Raises:
        ValueError: sizes that do not fit, an attention that carries scores from layer to layer;
            when called, a row that is no text twice, or a text longer than the positions.
    """

    texts_in_row: ClassVar[int] = 2
    provides: ClassVar[set[str]] = {
        "text_autoencoder",
        "text_codes if latent=vmf",
        "text_codes if latent=gaussian",
        "text_codes if latent=vq",
        "text_codes if latent=deterministic",
        "layers",
        "feed_forward",
        "autoregressive",
        "pattern",
        "key_subsets",
        "later_keys",
    }
    needs: ClassVar[dict[str, str]] = {
        "twice": "it reads a text twice in a row; use task=autoencode_text, or model=transformer"
    }
    refuses: ClassVar[dict[str, str]] = {
        "residual_scores": "the scores that it carries on would bring what the codes leave out; "
        "use attention=softmax"
    }
    entries: ClassVar[tuple[str, ...]] = ("read", "encode", "decode")

    def __init__(
        self,
        vocab_size: int,
        attention: Attention,
        position: Position,
        norm: nn.Module,
        init: Init,
        dim: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        head_dim: int | None = None,
        key_dim: int | None = None,
        ffn: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = "gelu",
        ffn_multiplier: int = 4,
        norm_order: Literal["pre", "post"] = "pre",
        bias: bool = False,
        dropout: float = 0.0,
        latent: Literal["vmf", "gaussian", "vq", "deterministic", "none"] = "vmf",
        num_latent_layers: int = 3,
        latent_dim: int = 16,
        kappa: float = 32.0,
        codebook_size: int = 512,
        mask_padding: bool = True,
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
        at_least(1, most=MOST_LAYERS, num_layers=num_layers)
        one_of(LATENTS, latent=latent)
        if latent == "none" and num_latent_layers != 0:
            raise ValueError("latent=none has no codes: set num_latent_layers=0")
        if latent != "none" and not 1 <= num_latent_layers <= num_layers:
            raise ValueError(
                f"num_latent_layers={num_latent_layers} must be from 1 to num_layers={num_layers}, "
                "or 0 with latent=none"
            )
        if attention.carries:
            raise ValueError(
                f"{type(attention).__name__} carries scores past the codes; use attention=softmax"
            )
        self.mask_padding, self.latent_dim = mask_padding, latent_dim
        self.mask: Mask = UniAE(1)  # of a batch's width once there is one
        self._closed = Independent(1)
        self.position, self.carries = position, False
        self.embedding = nn.Embedding(vocab_size, dim)
        self.segment_embedding = nn.Embedding(2, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = layer.blocks(Block, num_layers)
        self.norm = layer.last_norm()
        makes: dict[str, Callable[[], Latent]] = {
            "vmf": lambda: VonMisesFisher(latent_dim, kappa),
            "gaussian": lambda: DiagonalGaussian(latent_dim),
            "vq": lambda: Codebook(latent_dim, codebook_size),
            "deterministic": lambda: Direction(latent_dim),
        }
        self.bottlenecks = nn.ModuleList(
            Bottleneck(dim, makes[latent](), bias) for _ in range(num_latent_layers)
        )
        self.head, self.output = None, None
        init.apply(self)

    @property
    def first_latent(self) -> int:
        """The first layer that has a code; without any, the number of layers."""
        return len(self.blocks) - len(self.bottlenecks)

    @property
    def trains_kl(self) -> bool:
        """Whether the codes' divergence depends on what is learned."""
        return any(not part.latent.constant_kl for part in self._codes())

    def forward(
        self,
        tokens: Int[Tensor, "b n2"],
        keep: Bool[Tensor, "b n2"] | None = None,
        at: Bool[Tensor, "b n2"] | None = None,
        codes: Float[Tensor, "b l d"] | None = None,
    ) -> Float[Tensor, "b n2 v"] | Float[Tensor, "k v"]:
        """Return the logits; arguments as of `read`."""
        return self.read(tokens, keep, at, codes).logits

    def read(
        self,
        tokens: Int[Tensor, "b n2"],
        keep: Bool[Tensor, "b n2"] | None = None,
        at: Bool[Tensor, "b n2"] | None = None,
        codes: Float[Tensor, "b l d"] | None = None,
        sample: bool | None = None,
    ) -> Reading:
        """Return logits, codes and what these cost.

        Args:
            tokens: each text twice, padded to one length, from its first token on.
            keep: True for real tokens, False for padding; None: all are real.
            at: the k places whose logits (k, v) are wanted, in their order; None: all.
            codes: take these instead of what the source says.
            sample: draw the codes, or take the means; None: draw while training.

        Raises:
            ValueError: a row of an odd width.
        """
        if tokens.shape[1] % 2:
            raise ValueError(
                f"univae expects the sentence twice at one length, not {tokens.shape[1]} tokens"
            )
        sample = self.training if sample is None else sample
        half = tokens.shape[1] // 2
        closed, opened = self._masks(half, keep)
        places = self._number(tokens.shape[1], tokens.device)
        x, relation = self._embed(tokens, half), self.relate(places, places)
        drawn: list[Drawn] = []
        for layer, block in enumerate(self.blocks):
            if layer >= self.first_latent:
                x, found = self._pass(x, layer, codes, sample)
                drawn.append(found)
            x = block(x, opened if layer >= self.first_latent else closed, *relation)
        logits = self.logits(self.norm(x), at)
        found_codes = self._stack([each.code for each in drawn], x)
        if codes is not None:
            return Reading(logits, found_codes, None, None)
        kl = torch.stack([each.kl for each in drawn], 1) if drawn else x.new_zeros(len(x), 0)
        return Reading(
            logits, found_codes, kl, sum((d.penalty for d in drawn), kl.new_zeros(len(x)))
        )

    def encode(
        self,
        tokens: Int[Tensor, "b n"],
        keep: Bool[Tensor, "b n"] | None = None,
        sample: bool = False,
    ) -> Float[Tensor, "b l d"]:
        """Return the codes of texts, which stand here once; arguments as of `read`."""
        mask, _ = self._masks(tokens.shape[1], keep)
        places = self._number(tokens.shape[1], tokens.device)
        x, relation = self._embed(tokens, len(places)), self.relate(places, places)
        codes: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            if layer >= self.first_latent:
                x, drawn = self._pass(x, layer, None, sample)
                codes.append(drawn.code)
                if len(codes) == len(self.bottlenecks):
                    break
            x = block(x, mask, *relation)
        return self._stack(codes, x)

    def decode(
        self,
        tokens: Int[Tensor, "b n"],
        state: DecodingState | None = None,
        keep: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        at: Bool[Tensor, "b n"] | None = None,
        codes: Float[Tensor, "b l d"] | None = None,
    ) -> tuple[Float[Tensor, "b n v"] | Float[Tensor, "k v"], DecodingState]:
        """Return the logits of n new tokens, given what was kept of those before.

        Args:
            tokens: the source, or only its first token and padding where codes are given, and the
                target so far; then the target's next tokens.
            state: as returned by the last call; None: a new text.
            keep: True for real tokens, False for padding; places count both.
            segments: 0 in the source, 1 in the target; needed at the first call.
            at: the k new tokens whose logits (k, v) are wanted; None: all.
            codes: take these instead of what the source says; needed at the first call only, for
                what later tokens read of them is kept.

        Raises:
            ValueError: a first call without a source.
        """
        begins = state is None
        if state is None:
            if segments is None or not bool((segments[:, 0] == 0).all()):
                raise ValueError("univae decodes after a source: give segments, 0 for its tokens")
            half = int((segments[0] == 0).sum())
            state = DecodingState([None] * len(self.blocks), 0, UniAE(half))
        assert isinstance(state.mask, UniAE)
        half, length = state.mask.half, state.length + tokens.shape[1]
        real = joined(state, tokens, keep)
        closed, opened = self._masks(half, real)
        every = self._number(length, tokens.device)
        new = every[state.length :]
        x, relation = self._embed(tokens, half, state.length), self.relate(new, every)
        layers: list[Any] = []
        for layer, (block, past) in enumerate(zip(self.blocks, state.layers, strict=True)):
            if begins and layer >= self.first_latent:
                x, _ = self._pass(x, layer, codes, sample=False)
            mask = opened if layer >= self.first_latent else closed
            x, present = block.decode(x, mask, *relation, past)  # type: ignore[operator]
            layers.append(present)
        return self.logits(self.norm(x), at), DecodingState(layers, length, state.mask, real)

    def prior(self, rows: int, generator: Generator | None = None) -> Float[Tensor, "b l d"]:
        """Return codes of no text, drawn from the prior."""
        weight: Tensor = self.embedding.weight  # type: ignore[assignment]
        drawn = [part.latent.prior(rows, weight.device, generator) for part in self._codes()]
        return self._stack(drawn, weight.new_zeros(rows, 1))

    def _codes(self) -> list[Bottleneck]:
        return list(self.bottlenecks)  # type: ignore[arg-type]

    def _pass(
        self, x: Tensor, layer: int, codes: Tensor | None, sample: bool
    ) -> tuple[Tensor, Drawn]:
        """Return the states with the first one from a code, and the code."""
        number = layer - self.first_latent
        first, drawn = self.bottlenecks[number](
            x[:, 0], None if codes is None else codes[:, number], sample
        )
        return torch.cat((first[:, None], x[:, 1:]), 1), drawn

    def _masks(self, half: int, keep: Tensor | None) -> tuple[Mask, Mask]:
        """Return the masks of the layers without codes and with them."""
        if self._closed.half != half:
            self._closed, self.mask = Independent(half), UniAE(half)  # their tables outlive a batch
        if keep is None or not self.mask_padding:
            return self._closed, self.mask
        padding = Padding(keep)
        return self._closed & padding, self.mask & padding

    def _embed(self, tokens: Tensor, half: int, start: int = 0) -> Tensor:
        """Return what the first block reads; ``start``: the first token's place."""
        places = self._number(start + tokens.shape[1], tokens.device)[start:]
        x = self.embedding(tokens) + self.segment_embedding((places >= half).long())
        return self.dropout(self.position.embed(x, places))

    def _stack(self, codes: list[Tensor], like: Tensor) -> Float[Tensor, "b l d"]:
        return torch.stack(codes, 1) if codes else like.new_zeros(len(like), 0, self.latent_dim)
