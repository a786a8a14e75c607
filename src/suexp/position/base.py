"""The contract of every position code."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from suexp.component import Component


class Position(nn.Module, Component):
    """Acts at up to three places; each method's default leaves its argument as it is.

    One instance serves all layers of a model. An option that adds to the scores provides the
    feature ``score_bias``.

    Attributes:
        max_length: the longest text that it can number; None: any.
    """

    max_length: int | None = None

    def check_length(self, length: int) -> None:
        """Refuse a text that is longer than `max_length`.

        Raises:
            ValueError: the text is too long.
        """
        if self.max_length is not None and length > self.max_length:
            raise ValueError(
                f"a text of {length} tokens is longer than the {self.max_length} positions of "
                f"{type(self).__name__}; raise position.max_length or use position=rope"
            )

    def embed(
        self, x: Float[Tensor, "b n c"], positions: Int[Tensor, "*b n"]
    ) -> Float[Tensor, "b n c"]:
        """Act on the token embeddings."""
        del positions
        return x

    def rotate(
        self, x: Float[Tensor, "b h n d"], positions: Int[Tensor, "*b n"], is_key: bool = False
    ) -> Float[Tensor, "b h n d"]:
        """Act on queries or keys, head by head, before the attention (and before a cache)."""
        del positions, is_key
        return x

    def bias(
        self, query: Int[Tensor, "*b n"], key: Int[Tensor, "*b m"]
    ) -> Float[Tensor, "*b h n m"] | None:
        """Return what is added to the scores, or None."""
        del query, key
        return None
