"""A stack of convolutions over tokens, with an output for each of them or for the text."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least, between, one_of
from suexp.init.base import Init
from suexp.model._shell import judged
from suexp.nn.clone import clone
from suexp.nn.linear import Linear


class ConvTagger(nn.Module, Component):
    r"""$h_0 = E_x$, $h_l = h_{l-1} + \mathrm{relu}(W_l * \mathrm{norm}_l(h_{l-1}))$, then $W h_L$.

    Shapes: tokens x (b, n), hidden h (b, n, dim), logits (b, n, num_labels), or (b, num_outputs) of
    the largest or mean hidden state over the real tokens, entry by entry. A convolution $*$ sees
    kernel_size tokens around each place; padding, and what lies beyond the text, is 0. The output
    sees $1 + L\,(k - 1)$ tokens. The filters keep torch's own initialisation, as linear layers
    of the same fan-in have it.

    References: Collobert et al., Natural Language Processing (almost) from Scratch,
    arXiv:1103.0398; residual convolutions, Gehring et al., arXiv:1705.03122; used for
    https://kexue.fm/archives/7213 and https://kexue.fm/archives/7234.

    Args:
        vocab_size: number of tokens.
        init: draws the embedding and the output layer.
        norm: prototype of the norms; None: no norms.
        dim: size of the hidden states.
        num_layers: L.
        kernel_size: k, an odd number.
        dropout: share set to 0 in the embedding and after each layer, in training.
        pool: what a classifier of texts reads: ``max`` or ``mean`` over the real tokens.
        num_labels: number of labels that each token is judged for; None: it is not.
        num_outputs: number of a text's classes; 0: the pooled state itself; None: there are none.

    Raises:
        ValueError: a size that is too small, an even kernel_size, or nothing to judge.
    """

    embeds: ClassVar[tuple[str, ...]] = ("embedding",)
    provides = {"layers"}
    needs = {
        "text": "it reads tokens; use data=spaceless, or model=mlp for vectors",
        "tags or text_vectors": "it judges tokens, or whole texts; use task=tagging, "
        "task=classification or task=matching, or model=transformer",
    }

    def __init__(
        self,
        vocab_size: int,
        init: Init,
        norm: nn.Module | None = None,
        dim: int = 48,
        num_layers: int = 3,
        kernel_size: int = 3,
        dropout: float = 0.0,
        pool: Literal["max", "mean"] = "max",
        num_labels: int | None = None,
        num_outputs: int | None = None,
    ) -> None:
        super().__init__()
        one_of(("max", "mean"), pool=pool)
        outputs = judged(num_outputs, num_labels)
        if outputs is None:
            raise ValueError("give num_labels, to judge tokens, or num_outputs, to judge texts")
        at_least(1, dim=dim)
        at_least(1, most=MOST_LAYERS, num_layers=num_layers)
        between("[0, 1)", dropout=dropout)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {kernel_size}")
        self.embedding = nn.Embedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList(
            nn.Identity() if norm is None else clone(norm) for _ in range(num_layers)
        )
        self.convolutions = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2) for _ in range(num_layers)
        )
        self.pool = pool if num_labels is None else None
        self.classifier = Linear(dim, outputs) if outputs else nn.Identity()
        init.apply(self)

    def forward(
        self, tokens: Int[Tensor, "b n"], keep: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b n c"] | Float[Tensor, "b c"]:
        """Return the logits; ``keep`` is True for real tokens, None: all are."""
        h = self.dropout(self.embedding(tokens))
        padding = None if keep is None else ~keep.unsqueeze(-1)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            seen = norm(h)
            if padding is not None:
                seen = seen.masked_fill(padding, 0)
            h = h + self.dropout(torch.relu(convolution(seen.transpose(1, 2)).transpose(1, 2)))
        return self.classifier(h if self.pool is None else self._pooled(h, keep))

    def _pooled(self, h: Tensor, keep: Tensor | None) -> Float[Tensor, "b c"]:
        """Return one state a text; 0 for a text without real tokens."""
        if keep is None:
            return h.amax(1) if self.pool == "max" else h.mean(1)
        real = keep.unsqueeze(-1)
        if self.pool == "mean":
            return (h * real).sum(1) / real.sum(1).clamp(min=1)
        return h.masked_fill(~real, -torch.inf).amax(1).masked_fill(~real.any(1), 0)
