"""An encoder that knows of no order: the mean of word vectors, and a residual perceptron."""

from typing import ClassVar, Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least, between
from suexp.init.base import Init
from suexp.nn.clone import clone
from suexp.nn.feed_forward import FeedForward
from suexp.nn.linear import Linear


class BagEncoder(nn.Module, Component):
    r"""$h_0 = \frac1n \sum_t E_{x_t}$, $h_l = h_{l-1} + \mathrm{ffn}_l(\mathrm{norm}_l(h_{l-1}))$.

    Shapes: tokens x (b, n), padding left out of the mean, vectors h (b, dim); the output is h_L
    (b, dim), or logits (b, num_outputs). A text without real tokens has $h_0 = 0$.

    A baseline of retrieval that trains in seconds. References: Iyyer et al., Deep Unordered
    Composition Rivals Syntactic Methods, https://aclanthology.org/P15-1162; used for
    https://kexue.fm/archives/8471.

    Args:
        vocab_size: number of tokens.
        init: draws the weights.
        norm: prototype of the norms; None: no norms.
        dim: size of the word vectors.
        num_layers: L; 0: the mean itself.
        ffn: kind of the layers, see `suexp.nn.feed_forward`.
        ffn_multiplier: size of their hidden layers over dim.
        dropout: share set to 0 in the mean and in each layer's output, in training.
        num_outputs: number of classes; 0: the vector itself is the output.

    Raises:
        ValueError: a size that is too small.
    """

    embeds: ClassVar[tuple[str, ...]] = ("embedding",)
    provides = {"layers if num_layers", "feed_forward if num_layers"}
    needs = {
        "text": "it reads tokens; use data=docstring_pairs, or model=mlp for vectors",
        "text_vectors": "it gives a vector for each text and none for its tokens; use "
        "task=matching or task=classification, or model=transformer",
    }

    def __init__(
        self,
        vocab_size: int,
        init: Init,
        norm: nn.Module | None = None,
        dim: int = 128,
        num_layers: int = 1,
        ffn: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = "relu",
        ffn_multiplier: int = 4,
        dropout: float = 0.0,
        num_outputs: int = 0,
    ) -> None:
        super().__init__()
        at_least(1, dim=dim, ffn_multiplier=ffn_multiplier)
        at_least(0, num_outputs=num_outputs)
        at_least(0, most=MOST_LAYERS, num_layers=num_layers)
        between("[0, 1)", dropout=dropout)
        self.embedding = nn.Embedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList(
            nn.Identity() if norm is None else clone(norm) for _ in range(num_layers)
        )
        self.layers = nn.ModuleList(
            FeedForward(dim, ffn_multiplier * dim, ffn, True, dropout) for _ in range(num_layers)
        )
        self.classifier = Linear(dim, num_outputs) if num_outputs else nn.Identity()
        init.apply(self)

    def forward(
        self, tokens: Int[Tensor, "b n"], keep: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b c"]:
        """Return the vectors, or the logits; ``keep`` is True for real tokens, None: all are."""
        words = self.embedding(tokens)
        if keep is None:
            h = words.mean(1)
        else:
            weight = keep.to(words.dtype)
            weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
            h = (weight.unsqueeze(1) @ words).squeeze(1)
        h = self.dropout(h)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = h + layer(norm(h))
        return self.classifier(h)
