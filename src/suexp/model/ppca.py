"""Probabilistic principal component analysis: a VAE of which everything is known."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.errors import UserError, at_least
from suexp.nn.density import LOG_2_PI, LatentDensity, MomentDensity


class PPCA(MomentDensity, LatentDensity):
    r"""$x = Wz + \mu + \sigma \epsilon$, z and $\epsilon$ standard: $N(\mu, WW^\top + \sigma^2 I)$.

    The likelihood's maximum is $W = U_q (\Lambda_q - \sigma^2 I)^{1/2}$ with the covariance's q
    largest eigenvalues, and $\sigma^2$ is the mean of the others. Then $K = W^\top W + \sigma^2 I$
    is diagonal, and so is the covariance of the posterior $N(K^{-1} W^\top (x - \mu), \sigma^2
    K^{-1})$. The encoder is that posterior with its standard deviations multiplied by c: c = 1
    estimates the density without any variance; else the relative second moment of the weights is
    $[c^2 / \sqrt{2c^2 - 1}]^q$, infinite for $c^2 \le 1/2$, and the bias at M = 1 is
    $-q(-\log c + (c^2 - 1)/2)$. Shapes: x (B, D), z (M, B, q), all in float64.

    Post: https://kexue.fm/archives/8791. Paper: Tipping and Bishop, Probabilistic Principal
    Component Analysis, https://doi.org/10.1111/1467-9868.00196.

    Args:
        input_dim: D.
        latent_dim: q, below D.
        proposal_scale: c.
        ddof: what is subtracted from the number of rows; 0: the likelihood's maximum.

    Raises:
        ValueError: a value out of range.
    """

    provides: ClassVar[set[str]] = {"fitted_density", "exact_posterior"}

    def __init__(
        self, input_dim: int, latent_dim: int = 8, proposal_scale: float = 1.0, ddof: int = 0
    ) -> None:
        super().__init__(input_dim, ddof)
        at_least(1, latent_dim=latent_dim)
        if not 0 < latent_dim < input_dim:
            raise ValueError(
                f"latent_dim must be at least 1 and below the {input_dim} of the data, not "
                f"{latent_dim}"
            )
        if proposal_scale <= 0:
            raise ValueError(f"proposal_scale must be above 0, not {proposal_scale}")
        self.latent_dim, self.proposal_scale = latent_dim, proposal_scale
        self.loadings = self.fixed(input_dim, latent_dim)
        self.log_noise = self.fixed()

    def set_covariance(self, covariance: Float[Tensor, "i i"]) -> None:
        """Set loadings and noise by the eigenvectors; each column's largest entry is positive.

        Raises:
            UserError: nothing is left for the noise.
        """
        values, vectors = (part.flip(-1) for part in torch.linalg.eigh(covariance))
        noise = values[self.latent_dim :].mean()
        if noise <= 1e-12 * values[0]:
            raise UserError(
                f"the rows lie in model.latent_dim={self.latent_dim} dimensions and leave no "
                "noise: choose fewer, or dequantize the data"
            )
        vectors = vectors[:, : self.latent_dim]
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        scale = (values[: self.latent_dim] - noise).clamp(min=0).sqrt()
        self.loadings.copy_(vectors * largest.sign() * scale)
        self.log_noise.copy_(noise.log())

    def _precision(self) -> Float[Tensor, " d"]:
        """Return the diagonal of K."""
        return self.loadings.double().square().sum(0) + self.log_noise.double().exp()

    def posterior(
        self, x: Float[Tensor, "b i"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Return mean and log-variance of z given x, exactly."""
        k = self._precision()
        mean = (x - self.mean).double() @ self.loadings.double() / k
        return mean, (self.log_noise.double() - k.log()).expand_as(mean)

    def encode(self, x: Float[Tensor, "b i"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Return mean and log-variance of the proposal: the posterior, c times as wide."""
        mean, log_var = self.posterior(x)
        return mean, log_var + 2 * math.log(self.proposal_scale)

    def decode(
        self, z: Float[Tensor, "*b d"]
    ) -> tuple[Float[Tensor, "*b i"], Float[Tensor, "*b i"]]:
        """Return mean and log-variance of x given z."""
        mean = z.double() @ self.loadings.double().mT + self.mean
        return mean, self.log_noise.double().expand_as(mean)

    def log_prob(self, x: Float[Tensor, "b i"]) -> Float[Tensor, " b"]:
        """Return log q(x) in nats, by Woodbury's identity."""
        off, k, log_noise = (x - self.mean).double(), self._precision(), self.log_noise.double()
        explained = ((off @ self.loadings.double()).square() / k).sum(-1)
        distance = (off.square().sum(-1) - explained) / log_noise.exp()
        log_det = k.log().sum() + (self.input_dim - self.latent_dim) * log_noise
        return -0.5 * (self.input_dim * LOG_2_PI + log_det + distance)

    def relative_variance(self) -> float:
        r"""Return $Var(w) / q(x)^2$ under the encoder; it is the same for every x."""
        square = self.proposal_scale**2
        if square <= 0.5:
            return math.inf
        return math.expm1(self.latent_dim * math.log(square / math.sqrt(2 * square - 1)))
