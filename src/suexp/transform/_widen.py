r"""Rules by which a network's layers are widened (https://kexue.fm/archives/8444).

Every vector of the wide network holds the narrow one's, repeated and scaled: $\tilde x_j = s_j
x_{P(j)}$, a `Space`. What a layer's weights must then be follows from the spaces that it reads and
writes; a rule says only which these are.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suexp.attention.softmax import Softmax
from suexp.model.mlp import MLP
from suexp.model.transformer import Transformer
from suexp.nn.block import Block
from suexp.nn.feed_forward import FeedForward
from suexp.nn.linear import FusedLinear, Linear, ResidualLinear
from suexp.nn.mlm_head import MLMHead
from suexp.nn.multi_head import MultiHeadAttention
from suexp.norm.batch import Batch
from suexp.norm.layer import Layer
from suexp.norm.rms import RMS
from suexp.position.base import Position
from suexp.position.learned import Learned
from suexp.position.rope import Rope

# Activations of degree 1 pass the factor of their input on.
HOMOGENEOUS = (F.relu, nn.ReLU)
NORMS = (Batch, Layer, RMS)


@dataclass(frozen=True)
class Space:
    r"""How a wide vector holds a narrow one: $\tilde x_j = s_j x_{P(j)}$.

    Attributes:
        index: P, one entry for each coordinate of the wide vector.
        scale: s, likewise.
    """

    index: Tensor
    scale: Tensor

    @classmethod
    def same(cls, size: int) -> "Space":
        """A vector that is not widened: words, classes, inputs."""
        return cls(torch.arange(size), torch.ones(size, dtype=torch.float64))

    @classmethod
    def spread(cls, narrow: int, wide: int, scale: float) -> "Space":
        """Every coordinate repeated next to itself, as evenly as the sizes allow."""
        index = torch.arange(wide) * narrow // wide
        return cls(index, torch.full((wide,), scale, dtype=torch.float64))

    @property
    def copies(self) -> Tensor:
        """How often the coordinate that each wide one holds occurs."""
        return self.index.bincount()[self.index]

    def join(self, *others: "Space") -> "Space":
        """One vector after another."""
        index, end = [self.index], int(self.index.max()) + 1
        for other in others:
            index.append(other.index + end)
            end += int(other.index.max()) + 1
        return Space(torch.cat(index), torch.cat([s.scale for s in (self, *others)]))


def repeat(size: int, copies: int, window: int) -> Tensor:
    """Return P that repeats a vector in groups of ``window``: a b a b c d c d for window 2.

    Raises:
        ValueError: the window does not divide the size.
    """
    if size % window:
        raise ValueError(f"window {window} does not divide the {size} features of a head")
    return torch.arange(size).view(-1, 1, window).expand(-1, copies, -1).flatten()


class Widening:
    """Writes a parent's weights into a wider child, layer by layer.

    Args:
        factor: k of the stream, the vector that all layers read and write.
        window: how many neighbouring features of a head are repeated together; None: as the
            position code needs it.
        spread: bound of the random shares that copies get from their reader; 0: equal shares.
        rescale_eps: give norms the epsilon that their smaller input needs.
    """

    def __init__(self, factor: int, window: int | None, spread: float, rescale_eps: bool) -> None:
        self.factor, self.window = factor, window
        self.asymmetry, self.rescale_eps = spread, rescale_eps
        self.pattern: Callable[[int, int], Tensor] = functools.partial(repeat, window=window or 1)
        self.claimed: set[int] = set()

    def __call__(
        self, old: nn.Module, new: nn.Module, source: Space | None = None, target: Any = None
    ) -> None:
        """Write one module, by the rule for its class.

        Raises:
            ValueError: there is no rule, or the two modules differ in kind.
        """
        if type(old) is not type(new):
            raise ValueError(
                f"{_kind(old)} of the parent is {_kind(new)} in the child; they may differ in "
                "their sizes only"
            )
        rule = RULES.get(type(new))
        if rule is None:
            raise ValueError(f"no enlargement rule for {_kind(new)}")
        rule(self, old, new, source, target)

    def stream(self, narrow: int) -> Space:
        """Return the space of what the residual connections carry: copies over sqrt(k)."""
        return Space.spread(narrow, narrow * self.factor, self.factor**-0.5)

    def write(self, new: Tensor, value: Tensor) -> None:
        """Overwrite a tensor of the child and tick it off."""
        new.copy_(value)
        self.claimed.add(id(new))

    def shares(self, outputs: int, source: Space) -> Tensor:
        """Return what each reader takes of each copy: the shares of a group's copies sum to 1."""
        shares = 1 / source.copies.double()
        if self.asymmetry == 0 or int(source.copies.max()) == 1:
            return shares
        u = (2 * torch.rand(outputs, len(shares), dtype=torch.float64) - 1) * self.asymmetry
        sums = u.new_zeros(outputs, int(source.index.max()) + 1).index_add_(1, source.index, u)
        return shares * (1 + u - (sums[:, source.index] * shares))

    def check_claims(self, child: nn.Module) -> None:
        """Refuse a child with a tensor that no rule has written.

        Raises:
            ValueError: there is one.
        """
        for path, module in child.named_modules():
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, tensor in own:
                if id(tensor) not in self.claimed:
                    raise ValueError(
                        f"no enlargement rule for {path}.{name} ({type(module).__name__})"
                    )


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def _linear(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    r"""$\tilde W_{ij} = W_{P(i)Q(j)}\, s_i a_{ij} / t_j$ with shares a, $\tilde b_i = s_i b_i$."""
    weight = old.weight.double()[target.index][:, source.index]
    gain = do.shares(len(weight), source) / source.scale
    do.write(new.weight, weight * gain * target.scale[:, None])
    if (old.bias is None) != (new.bias is None):
        raise ValueError("one of parent and child has biases, the other has none (model.bias)")
    if new.bias is not None:
        do.write(new.bias, old.bias.double()[target.index] * target.scale)


def _embedding(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    """Rows are those of the table's own keys; the vectors are repeated."""
    del source
    if old.num_embeddings != new.num_embeddings:
        raise ValueError(
            f"a table of {old.num_embeddings} rows cannot become one of {new.num_embeddings}; "
            "only the width may grow"
        )
    do.write(new.weight, old.weight.double()[:, target.index] * target.scale)


def _norm(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    r"""Gain and bias repeat with the target's factor; epsilon takes the square of the source's."""
    for name in ("weight", "bias"):
        value = getattr(old, name, None)
        if value is not None:
            do.write(getattr(new, name), value.double()[target.index] * target.scale)
    if do.rescale_eps:
        new.scale_eps(old.eps * float(source.scale[0]) ** 2 / new.given_eps)


def _batch_norm(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    """Its running averages are those of its input."""
    _norm(do, old, new, source, target)
    do.write(new.running_mean, old.running_mean.double()[source.index] * source.scale)
    do.write(new.running_var, old.running_var.double()[source.index] * source.scale**2)
    do.write(new.num_batches_tracked, old.num_batches_tracked)


def _feed_forward(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    """The hidden layer's copies are over sqrt(k) only if the activation passes that on."""
    if old.activation is not new.activation:
        raise ValueError("parent and child have different activations (model.ffn)")
    blocks = len(new.input.blocks)
    sizes = [layer.input.out_features // blocks for layer in (old, new)]
    hidden = Space.spread(*_growing("the hidden layer", *sizes), _scale(do, new.activation))
    do(old.input, new.input, source, hidden.join(*[hidden] * (blocks - 1)))
    do(old.output, new.output, hidden, target)


def _scale(do: Widening, activation: Any) -> float:
    return do.factor**-0.5 if activation in HOMOGENEOUS else 1.0


def _growing(what: str, narrow: int, wide: int) -> tuple[int, int]:
    if wide < narrow:
        raise ValueError(f"{what} has {wide} features in the child and {narrow} in its parent")
    return narrow, wide


def _attention(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    """Heads are repeated whole, or grow inside; scores stay what they were."""
    if len({*old.qkv.blocks}) > 1 or len({*new.qkv.blocks}) > 1:
        raise ValueError("no enlargement rule for keys of another size than values (model.key_dim)")
    heads, wide_heads = old.num_heads, new.num_heads
    size, wide = old.output.in_features // heads, new.output.in_features // wide_heads
    if wide_heads % heads or wide % size:
        raise ValueError(
            f"{wide_heads} heads of {wide} are no multiple of the parent's {heads} heads of {size}"
        )
    grown = wide // size
    inside = do.pattern(size, grown)
    head = torch.arange(wide_heads) * heads // wide_heads
    index = (head[:, None] * size + inside).flatten()
    scores = (_score_scale(old.attention, size) / _score_scale(new.attention, wide) / grown) ** 0.5
    qk = Space(index, torch.full((len(index),), scores, dtype=torch.float64))
    values = (len(index) / (heads * size)) ** -0.5
    v = Space(index, torch.full_like(qk.scale, values))
    do(old.qkv, new.qkv, source, qk.join(qk, v))
    do(old.output, new.output, v, target)


def _score_scale(attention: nn.Module, size: int) -> float:
    """Return what scores are multiplied by.

    Raises:
        ValueError: an attention whose weights are no function of q.k alone.
    """
    if type(attention) is not Softmax:
        raise ValueError(
            f"no enlargement rule for the attention {_kind(attention)}; use attention=softmax"
        )
    return size**-0.5 if attention.scale is None else float(attention.scale)


def _pattern(position: nn.Module, window: int | None) -> Callable[[int, int], Tensor]:
    """Return how the features of a head are repeated, as their rotations need it."""
    if not isinstance(position, Rope):
        return functools.partial(repeat, window=window or 1)
    if position.interleaved:
        return functools.partial(repeat, window=window or 2)

    def halves(size: int, copies: int) -> Tensor:
        half = repeat(size // 2, copies, window or 1)
        return torch.cat((half, half + size // 2))

    return halves


def _block(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    if old.norm_order != new.norm_order:
        raise ValueError("norms stand elsewhere in one of the models (model.norm_order)")
    for name in ("attention_norm", "attention", "feed_forward_norm", "feed_forward"):
        do(getattr(old, name), getattr(new, name), source, target)


def _mlm_head(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    del target
    if old.activation is not new.activation:
        raise ValueError("parent and child have different activations (model.ffn)")
    scale = torch.full_like(source.scale, _scale(do, new.activation))
    hidden = Space(source.index, scale)
    do(old.dense, new.dense, source, hidden)
    do(old.norm, new.norm, hidden, source)
    do.write(new.bias, old.bias)


def _position(do: Widening, old: Any, new: Any, source: Space, target: Space) -> None:
    """A code that acts on the scores alone knows nothing of widths."""
    del source
    kind = type(new)
    acts = kind.embed is not Position.embed or kind.rotate is not Position.rotate
    if kind is Learned:
        do(old.embedding, new.embedding, Space.same(old.max_length), target)
    elif acts and kind is not Rope:
        raise ValueError(
            f"no enlargement rule for position={kind.__name__.lower()}, whose vectors are others "
            "in another width; use position=learned, position=rope or position=alibi"
        )
    else:
        state, own = old.state_dict(), new.state_dict(keep_vars=True)
        for name, tensor in own.items():
            if state[name].shape != tensor.shape:
                raise ValueError(f"position.{name} may not change with the width")
            do.write(tensor, state[name])


def _transformer(do: Widening, old: Any, new: Any, source: Any, target: Any) -> None:
    del source, target
    dim = old.blocks[0].attention.qkv.in_features
    stream = do.stream(dim)
    if len(old.blocks) != len(new.blocks):
        raise ValueError(
            f"the child has {len(new.blocks)} blocks and its parent {len(old.blocks)}; only the "
            "width may grow"
        )
    do.pattern = _pattern(new.position, do.window)
    inputs = getattr(old.embedding, "in_features", 1)  # of vectors, where it is a linear layer
    words = Space.same(len(old.embedding.weight) if inputs == 1 else inputs)
    parts = {
        "embedding": (words, stream),
        "segment_embedding": (words, stream),
        "embedding_norm": (stream, stream),
        "norm": (stream, stream),
        "head": (stream, stream),
    }
    pooled = stream
    if type(old.pooler) is not type(new.pooler):
        raise ValueError("parent and child differ in their pooler (model.pooler)")
    if isinstance(new.pooler, Linear):
        raise ValueError("a linear pooler is not widened; use model.pooler=false or true")
    if isinstance(new.pooler, nn.Sequential):
        pooled = Space(stream.index, torch.ones_like(stream.scale))  # tanh passes no factor on
        do(old.pooler[0], new.pooler[0], stream, pooled)
    for name in ("output", "classifier"):
        reader = getattr(new, name)
        if reader is not None:
            parts[name] = (pooled, Space.same(reader.out_features))
    for name, spaces in parts.items():
        pair = getattr(old, name), getattr(new, name)
        if (pair[0] is None) != (pair[1] is None):
            has, lacks = ("child", "parent") if pair[0] is None else ("parent", "child")
            raise ValueError(f"the {has} has {name}, the {lacks} has not; only widths may differ")
        if pair[1] is not None and not isinstance(pair[1], nn.Identity):
            do(*pair, *spaces)
    if type(old.position) is not type(new.position):
        raise ValueError("parent and child have different position codes")
    _position(do, old.position, new.position, stream, stream)
    for blocks in zip(old.blocks, new.blocks, strict=True):
        do(*blocks, stream, stream)


def _mlp(do: Widening, old: Any, new: Any, source: Any, target: Any) -> None:
    """Hidden layers repeat without a factor, unless the activation passes one on."""
    del source, target
    if len(old.hidden) != len(new.hidden):
        raise ValueError("parent and child have different layers (model.num_layers, model.norm)")
    space = Space.same(next(m for m in old.modules() if isinstance(m, nn.Linear)).in_features)
    for index, (a, b) in enumerate(zip(old.hidden, new.hidden, strict=True)):
        if isinstance(b, nn.Linear):
            following = new.hidden[index + 1 :]
            activation = next(m for m in following if not isinstance(m, NORMS))
            scale = _scale(do, type(activation))
            wider = Space.spread(a.out_features, b.out_features, scale)
            do(a, b, space, wider)
            space = wider
        elif isinstance(b, NORMS):
            do(a, b, space, space)
        elif type(a) is not type(b) or getattr(a, "name", None) != getattr(b, "name", None):
            raise ValueError("parent and child have different activations (model.activation)")
    do(old.classifier, new.classifier, space, Space.same(new.classifier.out_features))


Rule = Callable[[Widening, Any, Any, Any, Any], None]
RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    Linear: _linear,
    FusedLinear: _linear,
    ResidualLinear: _linear,
    nn.Embedding: _embedding,
    Batch: _batch_norm,
    Layer: _norm,
    RMS: _norm,
    FeedForward: _feed_forward,
    MultiHeadAttention: _attention,
    Block: _block,
    MLMHead: _mlm_head,
    Transformer: _transformer,
    MLP: _mlp,
}
