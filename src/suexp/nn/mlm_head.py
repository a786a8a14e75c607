"""The output layer that BERT puts between its last hidden states and the vocabulary."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.nn.clone import clone
from suexp.nn.feed_forward import ACTIVATIONS, Kind
from suexp.nn.linear import Linear


class MLMHead(nn.Module):
    r"""$g = \mathrm{norm}(f(W h + b))$; logits are $E g + c$ with the output layer's table E.

    Shapes: h and g (..., dim), E (vocab_size, dim), c (vocab_size,), the attribute ``bias``. The
    table, mostly that of the embedding, stays out of the module: hooks on modules, as counters of
    operations set them, cannot stand on parameters among the arguments.

    Reference: Devlin et al., BERT, arXiv:1810.04805; https://kexue.fm/archives/6933 keeps it when a
    masked language model becomes a sequence-to-sequence one.

    Args:
        dim: size of the hidden states.
        vocab_size: number of tokens.
        activation: f, named as the feed-forward layers' kinds; that of swiglu is silu.
        norm: prototype of the norm.
    """

    def __init__(self, dim: int, vocab_size: int, activation: Kind, norm: nn.Module) -> None:
        super().__init__()
        self.dense = Linear(dim, dim)
        self.activation = ACTIVATIONS[activation]
        self.norm = clone(norm)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Return g."""
        return self.norm(self.activation(self.dense(hidden)))
