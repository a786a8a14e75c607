r"""The von Mises-Fisher distribution on the sphere: $p(z) \propto e^{\kappa \mu \cdot z}$.

Post: https://kexue.fm/archives/8404. Papers: Davidson et al., Hyperspherical Variational
Auto-Encoders, arXiv:1804.00891; Xu and Durrett, Spherical Latent Spaces, arXiv:1808.10805.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.special import ive
from torch import Generator, Tensor, nn

from suexp.errors import at_least, between
from suexp.nn.density import at_least_float32


def mean_cosine(dim: int, kappa: float) -> float:
    r"""Return $E[\mu \cdot z] = I_{d/2}(\kappa) / I_{d/2-1}(\kappa)$; 0 for $\kappa = 0$."""
    if kappa == 0:
        return 0.0
    return float(ive(dim / 2, kappa) / ive(dim / 2 - 1, kappa))


def kl_to_uniform(dim: int, kappa: float) -> float:
    r"""Return the divergence from the uniform distribution, in nats; the mean does not matter.

    $\kappa E[\mu \cdot z] + (\frac d2 - 1) \ln \kappa - \frac d2 \ln 2\pi - \ln I_{d/2-1}(\kappa)
    + \ln(2 \pi^{d/2} / \Gamma(\frac d2))$; scaled, $I e^{-\kappa}$ does not overflow.

    Example:
        >>> from suexp.nn.vmf import kl_to_uniform
        >>> round(kl_to_uniform(16, 32.0), 5)
        7.58214
    """
    if kappa == 0:
        return 0.0
    half = dim / 2
    log_bessel = math.log(ive(half - 1, kappa)) + kappa
    log_area = math.log(2) + half * math.log(math.pi) - math.lgamma(half)
    log_density = (half - 1) * math.log(kappa) - half * math.log(2 * math.pi) - log_bessel
    return kappa * mean_cosine(dim, kappa) + log_density + log_area


class VMFSampler(nn.Module):
    r"""$z = w \mu + \sqrt{1 - w^2}\, \nu$ with $\nu$ uniform on the sphere orthogonal to $\mu$.

    The cosine $w = \cos\theta$ does not depend on $\mu$. Its angle has the density
    $\propto e^{\kappa \cos\theta} \sin^{d-2}\theta$, smooth on $[0, \pi]$ for every d. Its
    distribution function is summed up once, in logarithms and float64, and inverted at evenly
    spaced shares, between which a draw interpolates: no rejections, no search. Gradients flow
    through $\mu$; $\kappa$ is fixed. Shapes: mean and z (b, d), both of length 1, in float32 at
    least. The table is in no state dict.

    Example:
        >>> import torch
        >>> from suexp.nn.vmf import VMFSampler
        >>> mean = torch.eye(3)[:1].expand(1000, 3)
        >>> z = VMFSampler(3, kappa=50.0)(mean, torch.Generator().manual_seed(0))
        >>> bool((z.norm(dim=1) - 1).abs().max() < 1e-6), bool((z[:, 0] > 0.8).all())
        (True, True)

    Args:
        dim: d, at least 2.
        kappa: $\kappa$; 0: the uniform distribution.
        table_size: angles and shares of the table.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(self, dim: int, kappa: float, table_size: int = 100_000) -> None:
        super().__init__()
        at_least(2, dim=dim, table_size=table_size)
        between("[0, inf)", kappa=kappa)
        self.dim, self.kappa = dim, kappa
        angles = np.linspace(0, np.pi, table_size)
        log_density = kappa * np.cos(angles) + (dim - 2) * np.log(np.sin(angles).clip(1e-300))
        density = np.exp(log_density - log_density.max())
        cumulated = np.concatenate(([0.0], np.cumsum(density[1:] + density[:-1])))
        shares = np.linspace(0, cumulated[-1], table_size)
        # No buffer: casts to 16 bits must not reach it.
        self._quantiles = torch.from_numpy(np.interp(shares, cumulated, angles)).float()

    def angle(self, share: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        r"""Return the angle $\theta$ below which a share of the draws lies."""
        if self._quantiles.device != share.device:
            self._quantiles = self._quantiles.to(share.device)
        last = len(self._quantiles) - 1
        place = share * last
        below = place.long().clamp(0, last - 1)
        low, high = self._quantiles[below], self._quantiles[below + 1]
        return torch.lerp(low, high, (place - below).to(low.dtype))

    def forward(
        self, mean: Float[Tensor, "b d"], generator: Generator | None = None
    ) -> Float[Tensor, "b d"]:
        """Return a draw for each mean; None: from torch's global generator."""
        mean = at_least_float32(mean)
        share = torch.rand(len(mean), 1, device=mean.device, generator=generator)
        theta = self.angle(share).to(mean.dtype)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        across = F.normalize(noise - (noise * mean).sum(-1, keepdim=True) * mean, dim=-1)
        # In three dimensions the rest of a noise along the mean has rounding errors that show.
        return F.normalize(theta.cos() * mean + theta.sin() * across, dim=-1)


def uniform_on_sphere(
    rows: int, dim: int, device: torch.device, generator: Generator | None = None
) -> Float[Tensor, "b d"]:
    """Return vectors of length 1 in uniform directions."""
    return F.normalize(torch.randn(rows, dim, device=device, generator=generator), dim=-1)
