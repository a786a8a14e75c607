"""What a code of fixed size passes through: noise on a sphere, Gaussian noise, a codebook."""

import math
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from suexp.errors import at_least, between
from suexp.nn.density import at_least_float32, kl_to_standard_normal
from suexp.nn.vmf import VMFSampler, kl_to_uniform, uniform_on_sphere


class Drawn(NamedTuple):
    r"""Codes of a batch, and what they cost.

    Attributes:
        code: z.
        kl: $\mathrm{KL}(p(z|x) \| q(z))$ in nats; not a number where it is infinite.
        penalty: what training adds to the loss beside the KL.
    """

    code: Float[Tensor, "b d"]
    kl: Float[Tensor, " b"]
    penalty: Float[Tensor, " b"]


class Latent(nn.Module):
    r"""Turns what an encoder says, x (b, size), into a code z (b, dim), and draws from the prior.

    Everything is computed in float32 at least.

    Attributes:
        size: numbers that it reads for each code.
        constant_kl: whether the KL is the same whatever is learned, so that nothing trains it.

    Args:
        dim: d, numbers of a code.
    """

    constant_kl: ClassVar[bool] = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        at_least(1, latent_dim=dim)
        self.dim = self.size = dim

    def forward(self, x: Float[Tensor, "b s"], sample: bool) -> Drawn:
        """Return the codes: draws, or the proposal's means."""
        raise NotImplementedError

    def prior(
        self, rows: int, device: torch.device, generator: Generator | None = None
    ) -> Float[Tensor, "b d"]:
        """Return draws of codes that stand for no text."""
        raise NotImplementedError


class Direction(Latent):
    r"""$z = x / |x|$, without noise: an autoencoder's code. Its KL is infinite."""

    def forward(self, x: Float[Tensor, "b s"], sample: bool) -> Drawn:
        """Return the directions."""
        del sample
        zero = torch.zeros(len(x), device=x.device)
        return Drawn(F.normalize(at_least_float32(x), dim=-1), zero + math.nan, zero)

    def prior(
        self, rows: int, device: torch.device, generator: Generator | None = None
    ) -> Float[Tensor, "b d"]:
        """Return uniform directions."""
        return uniform_on_sphere(rows, self.dim, device, generator)


class VonMisesFisher(Direction):
    r"""$z \sim \mathrm{vMF}(\mu, \kappa)$ with $\mu = x / |x|$; uniform prior.

    The KL is a constant (`suexp.nn.vmf.kl_to_uniform`), so that the posterior cannot collapse.

    Args:
        dim: d, at least 3.
        kappa: $\kappa$.
    """

    def __init__(self, dim: int, kappa: float) -> None:
        super().__init__(dim)
        if dim < 3:
            raise ValueError(f"latent=vmf needs latent_dim of at least 3, not {dim}")
        between("(0, inf)", kappa=kappa)
        self.draw = VMFSampler(dim, kappa)
        self.kl = kl_to_uniform(dim, kappa)

    def forward(self, x: Float[Tensor, "b s"], sample: bool) -> Drawn:
        """Return draws around the directions, or these."""
        mean, zero, penalty = super().forward(x, sample)
        code = self.draw(mean) if sample else mean
        return Drawn(code, torch.full_like(zero, self.kl), penalty)


class DiagonalGaussian(Latent):
    r"""$z = \mu + \sigma \epsilon$ with $(\mu, \ln \sigma^2) = x$; standard normal prior.

    $\mathrm{KL} = \frac12 \sum (\mu^2 + \sigma^2 - \ln \sigma^2 - 1)$.
    """

    constant_kl = False

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.size = 2 * dim

    def forward(self, x: Float[Tensor, "b s"], sample: bool) -> Drawn:
        """Return reparametrised draws, or the means."""
        mean, log_var = at_least_float32(x).chunk(2, -1)
        code = mean + (log_var / 2).exp() * torch.randn_like(mean) if sample else mean
        kl = kl_to_standard_normal(mean, log_var)
        return Drawn(code, kl, torch.zeros_like(kl))

    def prior(
        self, rows: int, device: torch.device, generator: Generator | None = None
    ) -> Float[Tensor, "b d"]:
        """Return standard normal vectors."""
        return torch.randn(rows, self.dim, device=device, generator=generator)


class Codebook(Latent):
    r"""$z = e_k$, $k = \mathrm{argmin}_j |x - e_j|$; gradients pass straight through to x.

    The penalty is $|\mathrm{sg}(x) - e_k|^2 + c\,|x - \mathrm{sg}(e_k)|^2$, sg: no gradient. Under
    a uniform prior the KL is the constant $\ln K$.

    Reference: van den Oord et al., Neural Discrete Representation Learning, arXiv:1711.00937.

    Args:
        dim: d.
        size: K, the entries.
        commitment: c; 0.25 in the paper.
    """

    def __init__(self, dim: int, size: int, commitment: float = 0.25) -> None:
        super().__init__(dim)
        at_least(1, codebook_size=size)
        self.entries, self.commitment = nn.Embedding(size, dim), commitment

    def forward(self, x: Float[Tensor, "b s"], sample: bool) -> Drawn:
        """Return the nearest entries."""
        del sample
        x, entries = at_least_float32(x), at_least_float32(self.entries.weight)
        nearest = entries[torch.cdist(x, entries).argmin(-1)]
        to_entry = (x.detach() - nearest).square().sum(-1)
        to_code = (x - nearest.detach()).square().sum(-1)
        kl = torch.full_like(to_entry, math.log(len(entries)))
        return Drawn(x + (nearest - x).detach(), kl, to_entry + self.commitment * to_code)

    def prior(
        self, rows: int, device: torch.device, generator: Generator | None = None
    ) -> Float[Tensor, "b d"]:
        """Return uniformly drawn entries."""
        entries = at_least_float32(self.entries.weight)
        return entries[torch.randint(len(entries), (rows,), device=device, generator=generator)]
