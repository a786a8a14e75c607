"""The layer that acts on each token by itself."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from suexp.errors import at_least
from suexp.nn.linear import FusedLinear, ResidualLinear

Kind = Literal["gelu", "gelu_tanh", "relu", "swiglu"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "swiglu": F.silu,
}


class FeedForward(nn.Module):
    r"""$y = W_2 f(W_1 x)$; swiglu: $y = W_2 (\mathrm{silu}(W_g x) \odot W_1 x)$.

    Shapes: x and y (..., dim), hidden layer (..., hidden). Swiglu has three matrices instead of
    two, so it takes two thirds of ``hidden``, rounded to a multiple of 8: the number of parameters
    stays that of the other kinds, up to 12 dim.

    References: Vaswani et al., arXiv:1706.03762 (relu); GPT-2 and BERT (gelu_tanh, gelu); Shazeer,
    GLU Variants Improve Transformer, arXiv:2002.05202 (swiglu).

    Args:
        dim: size of the tokens.
        hidden: size of the hidden layer, 4 dim as a rule.
        kind: gelu (by the error function), gelu_tanh (its approximation), relu or swiglu.
        bias: whether the matrices have biases.
        dropout: share of the output set to 0 in training.

    Raises:
        ValueError: an unknown kind, or a size below 1.
    """

    def __init__(
        self, dim: int, hidden: int, kind: Kind = "gelu", bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if kind not in ACTIVATIONS:
            raise ValueError(f"ffn must be one of {', '.join(ACTIVATIONS)}, not {kind}")
        at_least(1, dim=dim, hidden=hidden)
        self.kind, self.gated = kind, kind == "swiglu"
        if self.gated:
            hidden = max(8, 8 * round(hidden / 12))
        self.activation = ACTIVATIONS[kind]
        self.input = FusedLinear(dim, [hidden, hidden] if self.gated else [hidden], bias)
        self.output = ResidualLinear(hidden, dim, bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Return y."""
        if self.gated:
            gate, value = self.input(x).chunk(2, dim=-1)
            hidden = self.activation(gate) * value
        else:
            hidden = self.activation(self.input(x))
        return self.dropout(self.output(hidden))
