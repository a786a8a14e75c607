"""The exponential, as everywhere."""

from jaxtyping import Float
from torch import Tensor

from suexp.normalizer.base import Normalizer, at_least_float32


class Softmax(Normalizer):
    r"""$p_i = e^{z_i} / \sum_j e^{z_j}$.

    The same for z and z plus a constant, so that no score is too large. Shapes: z (..., C).

    Reference: Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs,
    https://doi.org/10.1007/978-3-642-76153-9_28; https://kexue.fm/archives/7919 replaces it.
    """

    def log_weights(self, z: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Return z itself."""
        return at_least_float32(z)
