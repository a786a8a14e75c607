"""Densities of vectors: what models of them share, whether trained or fitted by a formula."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from suexp.component import Component
from suexp.errors import UserError, at_least

LOG_2_PI = math.log(2 * math.pi)
Proposal = Literal["encoder", "prior", "posterior"]


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32 if it is in 16 bits: densities of many dimensions underflow there."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def log_normal(
    x: Float[Tensor, "*a d"], mean: Float[Tensor, "*b d"], log_var: Float[Tensor, "*c d"]
) -> Float[Tensor, "*ab"]:
    r"""Return $\log N(x; \mu, \mathrm{diag}\, e^{v})$ with all constants, summed over d."""
    x, mean, log_var = at_least_float32(x), at_least_float32(mean), at_least_float32(log_var)
    return -0.5 * (LOG_2_PI + log_var + (x - mean).square() * (-log_var).exp()).sum(-1)


def log_standard_normal(z: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
    r"""Return $\log N(z; 0, I)$."""
    return -0.5 * (LOG_2_PI + at_least_float32(z).square()).sum(-1)


def kl_to_standard_normal(
    mean: Float[Tensor, "*b d"], log_var: Float[Tensor, "*b d"]
) -> Float[Tensor, "*b"]:
    r"""Return $\mathrm{KL}(N(\mu, e^v) \| N(0, I)) = \frac12 \sum_d (\mu^2 + e^v - v - 1)$."""
    mean, log_var = at_least_float32(mean), at_least_float32(log_var)
    return 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(-1)


@dataclass(frozen=True)
class Draws:
    r"""M latents for each of B vectors, and the terms of $\log w$, each (M, B).

    Attributes:
        z: the latents, (M, B, latent_dim).
        log_likelihood: $\log q(x|z)$.
        log_prior: $\log q(z)$.
        log_proposal: $\log p(z|x)$.
        mean: the proposal's mean, (B, latent_dim).
        log_var: the logarithm of its variances, (B, latent_dim).
    """

    z: Tensor
    log_likelihood: Tensor
    log_prior: Tensor
    log_proposal: Tensor
    mean: Tensor
    log_var: Tensor

    @property
    def log_weights(self) -> Tensor:
        r"""$\log w = \log q(x|z) + \log q(z) - \log p(z|x)$, (M, B)."""
        return self.log_likelihood + self.log_prior - self.log_proposal


class LatentDensity(nn.Module, Component):
    r"""A mixture $q(x) = \int q(x|z) q(z) dz$ with $q(z) = N(0, I)$, estimated by samples of z.

    With z from any proposal $p(z|x)$, $w = q(x|z) q(z) / p(z|x)$ has the mean q(x): see
    https://kexue.fm/archives/8791. A subclass has an `encode`, and a `decode` or a
    `log_likelihood`.

    Attributes:
        latent_dim: d, size of z.
    """

    latent_dim: int

    def encode(self, x: Float[Tensor, "b i"]) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (b, latent_dim) of the proposal for each x."""
        raise NotImplementedError

    def posterior(self, x: Float[Tensor, "b i"]) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of z given x, where that is such a normal distribution.

        Raises:
            ValueError: the model does not know it.
        """
        del x
        raise ValueError(f"the posterior of {type(self).__name__} is not known; use the encoder")

    def decode(self, z: Float[Tensor, "*b d"]) -> Any:
        """Return mean and log-variance (*b, input_dim) of x given z."""
        raise NotImplementedError

    def log_likelihood(
        self, x: Float[Tensor, "b i"], z: Float[Tensor, "m b d"]
    ) -> Float[Tensor, "m b"]:
        r"""Return $\log q(x|z) = \log N(x; \mu(z), \sigma^2(z))$, at least in float32."""
        return log_normal(x, *self.decode(z))

    def draw(
        self,
        x: Float[Tensor, "b i"],
        num_samples: int = 1,
        proposal: Proposal = "encoder",
        generator: Generator | None = None,
        stop_proposal: bool = False,
    ) -> Draws:
        r"""Draw $z = \mu + \sigma \odot \epsilon$, through which gradients flow, and weigh it.

        Args:
            x: the vectors.
            num_samples: M.
            proposal: ``encoder``, or ``prior``: $p(z|x) = q(z)$; ``posterior`` is for models that
                know theirs.
            generator: of $\epsilon$; None: torch's global one.
            stop_proposal: let no gradient flow through the proposal's density, only through z.

        Raises:
            ValueError: the model has no such proposal.
        """
        mean, log_var = (at_least_float32(part) for part in self._proposal(x, proposal))
        shape = (num_samples, *mean.shape)
        noise = torch.randn(shape, generator=generator, dtype=mean.dtype, device=mean.device)
        z = mean + (0.5 * log_var).exp() * noise
        stopped = (mean.detach(), log_var.detach()) if stop_proposal else (mean, log_var)
        return Draws(
            z=z,
            log_likelihood=self.log_likelihood(x, z),
            log_prior=log_standard_normal(z),
            log_proposal=log_normal(z, *stopped),
            mean=mean,
            log_var=log_var,
        )

    def _proposal(self, x: Tensor, proposal: Proposal) -> tuple[Tensor, Tensor]:
        if proposal == "encoder":
            return self.encode(x)
        if proposal == "posterior":
            return self.posterior(x)
        if proposal == "prior":
            zero = at_least_float32(x).new_zeros(len(x), self.latent_dim)
            return zero, zero
        raise ValueError(f"proposal must be encoder, prior or posterior, not {proposal}")

    def log_weights(
        self,
        x: Float[Tensor, "b i"],
        num_samples: int = 1,
        proposal: Proposal = "encoder",
        generator: Generator | None = None,
    ) -> Float[Tensor, "{num_samples} b"]:
        r"""Return $\log w$ of M samples; $\mathrm{logsumexp}_i \log w_i - \log M$ estimates log q.

        Arguments and errors are those of `draw`.
        """
        return self.draw(x, num_samples, proposal, generator).log_weights


class FittedDensity(nn.Module, Component):
    r"""A density whose parameters follow from sums over the rows, read in one or more passes.

    Parameters are float64 and take no gradient. See `suexp.task.density_fit` for what calls what.

    Args:
        input_dim: D, size of x.

    Attributes:
        passes: how often the rows are read.
    """

    provides: ClassVar[set[str]] = {"fitted_density"}
    needs: ClassVar[dict[str, str]] = {
        "vectors": "it reads vectors; use data=digits with data.dequantize=true",
        "density_fitting": "its parameters are not trained by gradients; use task=density_fit",
    }
    refuses: ClassVar[dict[str, str]] = {
        "discrete": "a continuous density of discrete data is unbounded; use data.dequantize=true "
        "or, for images, data.pixels=dequantized",
        "binary": "a continuous density of discrete data is unbounded; use data.pixels=dequantized",
        "text": "it reads vectors; use data=digits with data.dequantize=true",
    }
    passes: int = 1

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim)
        self.input_dim = input_dim

    def fixed(self, *shape: int) -> nn.Parameter:
        """Return a parameter of zeros that is not trained."""
        return nn.Parameter(torch.zeros(shape, dtype=torch.float64), requires_grad=False)

    def statistics(self, x: Float[Tensor, "b i"], pass_number: int) -> dict[str, Tensor]:
        """Return what a batch (float64) adds to the sums of a pass; ``rows`` are put together."""
        raise NotImplementedError

    def solve(self, sums: dict[str, Tensor], pass_number: int) -> None:
        """Set the parameters after a pass.

        Raises:
            UserError: the rows do not determine them.
        """
        raise NotImplementedError

    def log_prob(self, x: Float[Tensor, "b i"]) -> Float[Tensor, " b"]:
        """Return log q(x) in nats, exactly, in float64."""
        raise NotImplementedError


class MomentDensity(FittedDensity):
    r"""A density fitted by mean and covariance, $\frac{1}{N - ddof} \sum (x-\mu)(x-\mu)^\top$.

    The first pass finds the mean and the second the covariance around it: in one pass a mean that
    is large beside the spread would cost digits.

    Args:
        input_dim: D, size of x.
        ddof: what is subtracted from N: 0, the likelihood's maximum; 1, without bias.
    """

    passes = 2

    def __init__(self, input_dim: int, ddof: int = 0) -> None:
        super().__init__(input_dim)
        if ddof not in (0, 1):
            raise ValueError(f"ddof must be 0 or 1, not {ddof}")
        self.ddof = ddof
        self.mean = self.fixed(input_dim)

    def statistics(self, x: Float[Tensor, "b i"], pass_number: int) -> dict[str, Tensor]:
        """Return count and sum, then the products around the mean."""
        if pass_number == 0:
            return {"count": torch.tensor(float(len(x)), dtype=x.dtype), "sum": x.sum(0)}
        off = x - self.mean.to(x.device)
        return {"products": off.mT @ off}

    def solve(self, sums: dict[str, Tensor], pass_number: int) -> None:
        """Set the mean, then what follows from the covariance."""
        if pass_number == 0:
            self.mean.copy_(sums["sum"] / sums["count"])
            return
        if sums["count"] <= self.ddof:
            raise UserError(f"{type(self).__name__} needs at least {self.ddof + 1} rows")
        self.set_covariance(sums["products"].cpu() / (sums["count"].cpu() - self.ddof))

    def set_covariance(self, covariance: Float[Tensor, "i i"]) -> None:
        """Set the other parameters.

        Raises:
            UserError: the covariance does not do.
        """
        raise NotImplementedError
