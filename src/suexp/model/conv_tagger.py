"""A stack of convolutions over letters, with an output for each of them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least, between
from suexp.init.base import Init
from suexp.nn.clone import clone


class ConvTagger(nn.Module, Component):
    r"""$h_0 = E_x$, $h_l = h_{l-1} + \mathrm{relu}(W_l * \mathrm{norm}_l(h_{l-1}))$, then $W h_L$.

    Shapes: tokens x (b, n), hidden h (b, n, dim), logits (b, n, num_labels). A convolution $*$ sees
    kernel_size tokens around each place; padding, and what lies beyond the text, is 0. The output
    sees $1 + L\,(k - 1)$ tokens. The filters keep torch's own initialisation, as linear layers
    of the same fan-in have it.

    References: Collobert et al., Natural Language Processing (almost) from Scratch,
    arXiv:1103.0398; residual convolutions, Gehring et al., arXiv:1705.03122; used for
    https://kexue.fm/archives/7213.

    Args:
        vocab_size: number of tokens.
        num_labels: number of labels.
        init: draws the embedding and the output layer.
        norm: prototype of the norms; None: no norms.
        dim: size of the hidden states.
        num_layers: L.
        kernel_size: k, an odd number.
        dropout: share set to 0 in the embedding and after each layer, in training.

    Raises:
        ValueError: a size that is too small, or an even kernel_size.
    """

    provides = {"layers"}
    needs = {
        "tags": "it gives a label for each token; use task=tagging, or model=transformer",
    }

    def __init__(
        self,
        vocab_size: int,
        num_labels: int,
        init: Init,
        norm: nn.Module | None = None,
        dim: int = 48,
        num_layers: int = 3,
        kernel_size: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
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
        self.classifier = nn.Linear(dim, num_labels)
        init.apply(self)

    def forward(
        self, tokens: Int[Tensor, "b n"], keep: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b n c"]:
        """Return the logits; ``keep`` is True for real tokens, None: all are."""
        h = self.dropout(self.embedding(tokens))
        padding = None if keep is None else ~keep.unsqueeze(-1)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            seen = norm(h)
            if padding is not None:
                seen = seen.masked_fill(padding, 0)
            h = h + self.dropout(torch.relu(convolution(seen.transpose(1, 2)).transpose(1, 2)))
        return self.classifier(h)
