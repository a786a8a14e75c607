"""Learned positions that go on beyond their table: two rows of it make a place."""

import math

from jaxtyping import Float, Int
from torch import Tensor, nn

from suexp.errors import at_least
from suexp.position.base import Position


def check_alpha(alpha: float) -> None:
    """Refuse a weight that codes no places.

    Raises:
        ValueError: outside (0, 1), or 1/2.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}; use 0.4")
    if math.isclose(alpha, 0.5, abs_tol=1e-6):
        raise ValueError("alpha=0.5 gives positions (i, j) and (j, i) the same code; use 0.4")


class Hierarchical(Position):
    r"""$x_t \mapsto x_t + q_t$, $q_{in+j} = \alpha u_i + (1-\alpha) u_j$ with 0 <= i, j < n.

    n trained vectors p reach $n^2$ places: $u = (p - \alpha p_0) / (1-\alpha)$ makes the first n
    codes p itself, so that a model with learned positions reads short texts as before. Computed as
    $q_{in+j} = p_j + \frac{\alpha}{1-\alpha}(p_i - p_0)$, which is the same; there the first
    block is exact. The table p is what trains, the codes follow: training keeps the hierarchy.
    (``transform=extend_positions`` can also write the codes into a longer table of
    ``position=learned``, whose rows then train by themselves.)

    As $\alpha \to 0$ the blocks repeat each other; at 1/2 places (i, j) and (j, i) coincide; as
    $\alpha \to 1$ the block outweighs the place within it. Shapes: x (b, n, dim), p (base_length,
    dim). The group `init` draws p like a token embedding.

    Reference: https://kexue.fm/archives/7947 (places are counted from 1 there).

    Args:
        max_length: how many places are used, at most base_length^2.
        dim: size of the embeddings.
        base_length: n, how many vectors are trained; 512 in BERT. None: the fewest that reach.
        alpha: weight of the block, in (0, 1) but not 1/2; 0.4 as in the post.

    Raises:
        ValueError: a size below 1, a max_length out of reach, an alpha that codes no places; when
            called, a text longer than max_length.
    """

    def __init__(
        self, max_length: int, dim: int, base_length: int | None = None, alpha: float = 0.4
    ) -> None:
        super().__init__()
        at_least(1, max_length=max_length, dim=dim)
        if base_length is None:
            base_length = math.isqrt(max_length - 1) + 1
        at_least(1, base_length=base_length)
        if max_length > base_length**2:
            raise ValueError(
                f"hierarchical positions reach base_length^2 = {base_length**2}; asked for "
                f"max_length {max_length}"
            )
        check_alpha(alpha)
        self.max_length, self.base_length, self.alpha = max_length, base_length, alpha
        self.embedding = nn.Embedding(base_length, dim)

    def codes(self, positions: Int[Tensor, "*b n"]) -> Float[Tensor, "*b n c"]:
        """Return each place's vector."""
        block, place = positions // self.base_length, positions % self.base_length
        first = self.embedding(positions.new_zeros(()))
        shift = self.alpha / (1 - self.alpha)
        return self.embedding(place) + shift * (self.embedding(block) - first)

    def embed(
        self, x: Float[Tensor, "b n c"], positions: Int[Tensor, "*b n"]
    ) -> Float[Tensor, "b n c"]:
        """Add each place's vector."""
        self.check_length(x.shape[1])
        return x + self.codes(positions)

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return f"max_length={self.max_length}, alpha={self.alpha}"
