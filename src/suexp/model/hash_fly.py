"""The fly's hash: many sparse random projections, of which the strongest few stay."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.errors import at_least, between
from suexp.model._hash import Codes
from suexp.nn.hashing import Bag


class HashFly(Codes):
    r"""$h = $ the k largest of $B (x - \bar x)$, B of zeros and ones: nothing is learned.

    Each of the K = expansion k units reads a share ``density`` of the inputs, at random;
    $\bar x$ is the mean of the row's own components. Run it with trainer.max_steps=0. Shapes: x
    (b, input_dim), h (b, K) with k ones.

    Post: https://kexue.fm/archives/8159. Paper: Dasgupta, Stevens and Navlakha, A neural algorithm
    for a fundamental computing problem, https://doi.org/10.1126/science.aam9868.

    Args:
        input_dim: size of x.
        num_bits: k.
        expansion: K over k; 20 is the fly's activity of a twentieth.
        density: of B's ones; the fly's tenth. Each unit reads one input at least.
        center: whether the mean is subtracted.

    Raises:
        ValueError: a size below 1, a density outside (0, 1].
    """

    def __init__(
        self,
        input_dim: int,
        num_bits: int = 8,
        expansion: int = 20,
        density: float = 0.1,
        center: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim, num_bits=num_bits, expansion=expansion)
        between("(0, 1]", density=density)
        self.num_bits, self.center = num_bits, center
        read = max(1, round(density * input_dim))
        chosen = torch.rand(expansion * num_bits, input_dim).argsort(1)[:, :read]
        self.weight = nn.Parameter(
            torch.zeros(expansion * num_bits, input_dim).scatter(1, chosen, 1.0)
        )

    def forward(self, x: Float[Tensor, "b d"] | Bag) -> Float[Tensor, "b k"]:
        """Return the units' scores."""
        if not self.center:
            return super().forward(x)
        size = self.weight.shape[1]
        mean = (x.keep if isinstance(x, Bag) else x).sum(-1, keepdim=True) / size
        return super().forward(x) - mean * self.weight.sum(-1)
