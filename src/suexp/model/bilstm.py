"""Long short-term memory in both directions, with an output for each token."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least, between
from suexp.init.base import Init
from suexp.nn.linear import Linear


class Bilstm(nn.Module, Component):
    r"""$h_t = [a_t; b_t]$ from left to right and from right to left, logits $W h_t$.

    $a_t = \mathrm{LSTM}(E_{x_1} \ldots E_{x_t})$, $b_t = \mathrm{LSTM}(E_{x_n} \ldots E_{x_t})$.

    Shapes: tokens x (b, n), hidden h (b, n, dim), half of it from each direction, logits (b, n,
    num_labels). From right to left it begins at each text's last real token. The recurrent weights
    keep torch's own initialisation.

    References: Hochreiter & Schmidhuber, https://doi.org/10.1162/neco.1997.9.8.1735; with a CRF on
    top, Huang et al., Bidirectional LSTM-CRF Models for Sequence Tagging, arXiv:1508.01991.

    Args:
        vocab_size: number of tokens.
        num_labels: number of labels.
        init: draws the embedding and the output layer.
        dim: size of the embedding, and of both directions' states together; even.
        num_layers: layers, each reading both directions of the one below.
        dropout: share set to 0 in the embedding and in each layer's output, in training.

    Raises:
        ValueError: a size that is too small, or an odd dim.
    """

    embeds: ClassVar[tuple[str, ...]] = ("embedding",)
    needs = {
        "tags": "it gives a label for each token; use task=tagging, or model=transformer",
    }

    def __init__(
        self,
        vocab_size: int,
        num_labels: int,
        init: Init,
        dim: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        at_least(1, most=MOST_LAYERS, num_layers=num_layers)
        between("[0, 1)", dropout=dropout)
        if dim < 2 or dim % 2:
            raise ValueError(f"dim must be even, a half for each direction, not {dim}")
        self.embedding = nn.Embedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            dim,
            dim // 2,
            num_layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.classifier = Linear(dim, num_labels)
        init.apply(self)

    def forward(
        self, tokens: Int[Tensor, "b n"], keep: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b n c"]:
        """Return the logits; ``keep``, None or a prefix of each row, is True for real tokens."""
        words = self.dropout(self.embedding(tokens))
        if keep is None:
            h, _ = self.lstm(words)
        else:
            lengths = keep.sum(1).cpu()
            packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
            h, _ = pad_packed_sequence(
                self.lstm(packed)[0], batch_first=True, total_length=tokens.shape[1]
            )
        return self.classifier(self.dropout(torch.as_tensor(h)))
