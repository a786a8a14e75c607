"""Learned absolute positions."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from suexp.errors import at_least
from suexp.position.base import Position


class Learned(Position):
    r"""$x_i \mapsto x_i + p_i$, one trained vector for each place.

    Shapes: x (b, n, dim), p (max_length, dim). The group `init` draws p like a token embedding.

    References: Gehring et al., Convolutional Sequence to Sequence Learning, arXiv:1705.03122; as in
    BERT and GPT-2. https://kexue.fm/archives/8130 compares the kinds of position codes.

    Args:
        max_length: how many places there are.
        dim: size of the embeddings.

    Raises:
        ValueError: a size below 1; when called, a text longer than max_length.
    """

    def __init__(self, max_length: int, dim: int) -> None:
        super().__init__()
        at_least(1, max_length=max_length, dim=dim)
        self.max_length = max_length
        self.embedding = nn.Embedding(max_length, dim)

    def embed(
        self, x: Float[Tensor, "b n c"], positions: Int[Tensor, "*b n"]
    ) -> Float[Tensor, "b n c"]:
        """Add each place's vector."""
        # The length, not the largest position: reading that would stall an accelerator.
        self.check_length(x.shape[1])
        return x + self.embedding(positions)
