"""Variational autoencoder of binary vectors."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from suexp.init.base import Init
from suexp.model.vae import VAE
from suexp.nn.density import at_least_float32


class BernoulliVAE(VAE):
    r"""$q(x) = \int \prod_j p_j(z)^{x_j} (1 - p_j(z))^{1 - x_j} N(z; 0, I) dz$ for x of 0 and 1.

    The probability of discrete vectors, so that its logarithm is at most 0. Shapes: x (B,
    input_dim), z (M, B, latent_dim).

    Post: https://kexue.fm/archives/8791. Paper: Burda, Grosse and Salakhutdinov, Importance
    Weighted Autoencoders, https://arxiv.org/abs/1509.00519, whose sizes are the defaults.

    Args:
        input_dim: size of the vectors.
        init: draws the weights.
        latent_dim: size of z.
        hidden_dims: sizes of the encoder's hidden layers; the decoder's are the reverse.
        activation: relu, gelu, silu or tanh.

    Raises:
        ValueError: a size or an activation that does not exist.
    """

    needs: ClassVar[dict[str, str]] = {
        "binary": "it is a probability of 0 and 1; use data=idx with data.pixels=binary",
        "density_training": "it is a density of vectors; use task=autoencoding",
    }
    refuses: ClassVar[dict[str, str]] = {
        "text": "it reads vectors; use data=idx with data.pixels=binary",
    }

    def __init__(
        self,
        input_dim: int,
        init: Init,
        latent_dim: int = 50,
        hidden_dims: Sequence[int] = (200, 200),
        activation: Literal["relu", "gelu", "silu", "tanh"] = "tanh",
    ) -> None:
        # One output a dimension, and no parameters of a variance.
        super().__init__(input_dim, init, latent_dim, hidden_dims, activation, "learned")

    @property
    def outputs_per_dimension(self) -> int:
        """One logit."""
        return 1

    def decode(self, z: Float[Tensor, "*b d"]) -> Float[Tensor, "*b i"]:
        """Return the logits of x = 1 given z."""
        return self.decoder(self._as_weights(z))

    def log_likelihood(
        self, x: Float[Tensor, "b i"], z: Float[Tensor, "m b d"]
    ) -> Float[Tensor, "m b"]:
        r"""Return $\sum_j x_j \log p_j + (1 - x_j) \log(1 - p_j)$."""
        logits = at_least_float32(self.decode(z))
        return (x * logits - F.softplus(logits)).sum(-1)
