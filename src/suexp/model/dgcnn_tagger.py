"""Gated dilated convolutions over the sentences of a document, with a score for each of them."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least, between
from suexp.init.base import Init
from suexp.nn.clone import clone
from suexp.nn.linear import Linear


class DGCNNTagger(nn.Module, Component):
    r"""$h_0 = Wx$, $h_l = h_{l-1} + \alpha_l\,\mathrm{norm}_l(a_l \odot \sigma(b_l))$, $s = w h_L$.

    $[a_l; b_l] = V_l * h_{l-1}$ is a convolution that sees kernel_size sentences, dilations[l - 1]
    apart; padding, and what lies beyond the document, is 0. $\alpha_l$, one number a layer, is 0 in
    the beginning: then the score is a linear map of the sentence alone. A score sees $1 + (k - 1)
    \sum_l d_l$ sentences, 35 by default; without dilations one. The filters keep torch's own
    initialisation, as linear layers of the same fan-in have it.

    Shapes: vectors x (b, n, input_dim), hidden h (b, n, dim), scores s (b, n).

    Post: https://kexue.fm/archives/8046. References: https://kexue.fm/archives/5409; Dauphin et
    al., Language Modeling with Gated Convolutional Networks, arXiv:1612.08083.

    Args:
        input_dim: size of a sentence's vector.
        init: draws the layers before and after the convolutions.
        norm: prototype of the norms; None: no norms.
        dim: size of the hidden states; 384 in the post.
        dilations: $d_l$, one a layer.
        kernel_size: k, an odd number.
        dropout: share of the numbers set to 0 before each layer, the first and the last included.

    Raises:
        ValueError: a size that is too small, an even kernel_size.

    Example:
        >>> import torch
        >>> from suexp.init import Default
        >>> from suexp.model.dgcnn_tagger import DGCNNTagger
        >>> DGCNNTagger(512, Default(), dim=16)(torch.zeros(2, 7, 512)).shape
        torch.Size([2, 7])
    """

    provides: ClassVar[set[str]] = {"sentence_scores", "layers if dilations"}
    needs: ClassVar[dict[str, str]] = {
        "sentence_labels": "it reads a vector of each sentence; use data=docstring_extract, or "
        "model=conv_tagger for tokens",
        "extraction": "it gives a score to each sentence; use task=sentence_extraction",
    }

    def __init__(
        self,
        input_dim: int,
        init: Init,
        norm: nn.Module | None = None,
        dim: int = 384,
        dilations: Sequence[int] = (1, 2, 4, 8, 1, 1),
        kernel_size: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        at_least(1, dim=dim)
        between("[0, 1)", dropout=dropout)
        for dilation in dilations:
            at_least(1, dilations=dilation)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {kernel_size}")
        self.dropout = nn.Dropout(dropout)
        self.first = Linear(input_dim, dim, bias=False)
        self.layers = nn.ModuleList(
            GatedConvolution(dim, kernel_size, dilation, norm) for dilation in dilations
        )
        self.classifier = Linear(dim, 1)
        init.apply(self)

    def forward(
        self, x: Float[Tensor, "b n c"], keep: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b n"]:
        """Return the scores; ``keep`` is True for real sentences, None: all are."""
        h = self.first(self.dropout(x))
        for layer in self.layers:
            h = layer(self.dropout(h), keep)
        return self.classifier(self.dropout(h)).squeeze(-1)


class GatedConvolution(nn.Module):
    r"""$y = x + \alpha\,\mathrm{norm}(a \odot \sigma(b))$, $[a; b] = V * x$; see `DGCNNTagger`.

    Args:
        dim: size of x and y (b, n, dim).
        kernel_size: places that it sees, an odd number.
        dilation: how far apart they are.
        norm: prototype of the norm; None: none.
    """

    def __init__(self, dim: int, kernel_size: int, dilation: int, norm: nn.Module | None) -> None:
        super().__init__()
        reach = dilation * (kernel_size // 2)
        self.convolution = nn.Conv1d(dim, 2 * dim, kernel_size, padding=reach, dilation=dilation)
        self.norm = nn.Identity() if norm is None else clone(norm)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Float[Tensor, "b n d"], keep: Bool[Tensor, "b n"] | None
    ) -> Float[Tensor, "b n d"]:
        """Return y; where ``keep`` is False x counts as 0."""
        if keep is not None:
            x = x.masked_fill(~keep.unsqueeze(-1), 0)
        a, b = self.convolution(x.transpose(1, 2)).transpose(1, 2).chunk(2, dim=-1)
        return x + self.alpha * self.norm(a * torch.sigmoid(b))
