"""Variational autoencoder, as a density."""

import itertools
import warnings
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.errors import at_least
from suexp.init.base import Init
from suexp.nn.activation import ACTIVATIONS
from suexp.nn.density import LatentDensity
from suexp.nn.linear import Linear


class VAE(LatentDensity):
    r"""$q(x) = \int N(x; \mu(z), \sigma^2(z)) N(z; 0, I) dz$, proposal $p(z|x) = N(m(x), s^2(x))$.

    Encoder and decoder are perceptrons, the decoder's with the hidden sizes in reverse. Densities
    have all their constants, since the comparison with other densities needs them. Shapes: x (B,
    input_dim), z (M, B, latent_dim).

    Post: https://kexue.fm/archives/8791. Paper: Kingma and Welling, Auto-Encoding Variational
    Bayes, https://arxiv.org/abs/1312.6114.

    Args:
        input_dim: size of the vectors.
        init: draws the weights.
        latent_dim: size of z.
        hidden_dims: sizes of the encoder's hidden layers.
        activation: relu, gelu, silu or tanh.
        decoder_variance: ``learned``, $\sigma^2(z)$ by the decoder for each dimension; ``shared``,
            one learned $\sigma^2$ for each dimension and all z; ``fixed``, 1.
        min_log_var: least $\log \sigma^2$: without it the density of a constant pixel explodes.
        max_log_var: largest $\log \sigma^2$.

    Raises:
        ValueError: a size or an activation that does not exist, or bounds in the wrong order.
    """

    provides: ClassVar[set[str]] = {"latent_density"}
    needs: ClassVar[dict[str, str]] = {
        "vectors": "it reads vectors; use data=digits with data.dequantize=true",
        "density_training": "it is a density of vectors; use task=autoencoding",
    }
    refuses: ClassVar[dict[str, str]] = {
        "discrete": "a continuous density of discrete data is unbounded; use data.dequantize=true "
        "or, for images, data.pixels=dequantized",
        "binary": "a continuous density of discrete data is unbounded; use model=bernoulli_vae or "
        "data.pixels=dequantized",
        "text": "it reads vectors; use data=digits with data.dequantize=true",
    }

    def __init__(
        self,
        input_dim: int,
        init: Init,
        latent_dim: int = 8,
        hidden_dims: Sequence[int] = (128, 128),
        activation: Literal["relu", "gelu", "silu", "tanh"] = "relu",
        decoder_variance: Literal["learned", "shared", "fixed"] = "learned",
        min_log_var: float = -6.0,
        max_log_var: float = 6.0,
    ) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim, latent_dim=latent_dim, hidden_dims=hidden_dims)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation}"
            )
        if decoder_variance not in ("learned", "shared", "fixed"):
            raise ValueError(
                f"decoder_variance must be learned, shared or fixed, not {decoder_variance}"
            )
        if min_log_var >= max_log_var:
            raise ValueError(f"min_log_var {min_log_var} must be below max_log_var {max_log_var}")
        self.input_dim, self.latent_dim = input_dim, latent_dim
        self.decoder_variance = decoder_variance
        self.min_log_var, self.max_log_var = min_log_var, max_log_var
        outputs = self.outputs_per_dimension * input_dim
        self.encoder = perceptron([input_dim, *hidden_dims, 2 * latent_dim], activation)
        self.decoder = perceptron([latent_dim, *reversed(hidden_dims), outputs], activation)
        if decoder_variance == "shared":
            self.bias_log_var = nn.Parameter(torch.zeros(input_dim))
        elif decoder_variance == "fixed":
            warnings.warn(
                "decoder_variance=fixed: the density depends on the fixed variance 1", stacklevel=2
            )
        init.apply(self)

    @property
    def outputs_per_dimension(self) -> int:
        """How many numbers the decoder gives for each dimension of x."""
        return 2 if self.decoder_variance == "learned" else 1

    def encode(self, x: Float[Tensor, "b i"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Return mean and log-variance of the proposal."""
        mean, log_var = self.encoder(x).chunk(2, -1)
        return mean, log_var

    def _as_weights(self, z: Tensor) -> Tensor:
        return z.to(next(self.decoder.parameters()).dtype)

    def decode(
        self, z: Float[Tensor, "*b d"]
    ) -> tuple[Float[Tensor, "*b i"], Float[Tensor, "*b i"]] | Float[Tensor, "*b i"]:
        """Return mean and log-variance of x given z."""
        out = self.decoder(self._as_weights(z))
        if self.decoder_variance == "learned":
            out, log_var = out.chunk(2, -1)
        elif self.decoder_variance == "shared":
            log_var = self.bias_log_var.expand_as(out)
        else:
            log_var = torch.zeros_like(out)
        return out, log_var.clamp(self.min_log_var, self.max_log_var)


def perceptron(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Return linear layers of these sizes with the activation between them."""
    layers: list[nn.Module] = [Linear(sizes[0], sizes[1])]
    for before, after in itertools.pairwise(sizes[1:]):
        layers += [ACTIVATIONS[activation](), Linear(before, after)]
    return nn.Sequential(*layers)
