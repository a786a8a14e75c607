"""Denoising score matching at many levels of noise, for one energy."""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from suexp.component import Component
from suexp.errors import between, one_of
from suexp.loss.denoising_score import Energy, noise_like, widened_for
from suexp.nn.input_gradient import score_and_gradient
from suexp.sampler.base import Score


class MultiscaleScore(nn.Module, Component):
    r"""$L = E_k\,\sigma_k^{-2} |x - u + \sigma_0^2 \nabla E(u)|^2$ with $u = x + \sigma_k\epsilon$.

    The network does not see $\sigma_k$. In many dimensions it can read it off u, since
    $|u - x| \approx \sigma\sqrt d$, and the best energy has $\nabla E(u) \approx -(\sigma^2 /
    \sigma_0^2) \nabla\log p_\sigma(u)$; in few the levels blend, and E is the log-density of no
    single one. With the single level $\sigma_0$ it is `suexp.loss.denoising_score`.

    Each of the b points of a batch has a level of its own, the middles of b equal parts of the
    range. Shapes: points (b, d), energies (b,); float32 at least, whatever autocast says.

    Post: https://kexue.fm/archives/7038. Paper: Li et al., arXiv:1910.07762; its code divides by
    $\sigma_0^4$, and has linear levels for CIFAR-10, exponential ones from 0.1 to 3 for
    Fashion-MNIST.

    Args:
        sigma_min: the least noise.
        sigma_max: the largest.
        spacing: ``linear`` or ``exponential``.
        sigma0: the noise in whose units the energy is.

    Raises:
        ValueError: noise that is not above 0, a range that falls.

    Example:
        >>> import torch
        >>> from suexp.loss import MultiscaleScore
        >>> [round(float(s), 2) for s in MultiscaleScore(0.1, 0.4).levels(3)]
        [0.15, 0.25, 0.35]
    """

    provides: ClassVar[set[str]] = {"denoising", "noise_levels"}
    needs: ClassVar[dict[str, str]] = {
        "energy or two_energies": "it learns a scalar by its gradient; use model=energy_mlp with "
        "task=score_energy"
    }

    def __init__(
        self,
        sigma_min: float = 0.05,
        sigma_max: float = 1.2,
        spacing: Literal["linear", "exponential"] = "linear",
        sigma0: float = 0.1,
    ) -> None:
        super().__init__()
        between("(0, inf)", sigma_min=sigma_min, sigma_max=sigma_max, sigma0=sigma0)
        one_of(("linear", "exponential"), spacing=spacing)
        if sigma_max < sigma_min:
            raise ValueError(f"sigma_max {sigma_max} must not be below sigma_min {sigma_min}")
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.spacing, self.sigma0 = spacing, sigma0

    @property
    def sigma(self) -> float:
        r"""$\sigma_0$: near the data the energy is that of the data with this noise."""
        return self.sigma0

    def levels(self, count: int) -> Float[Tensor, " b"]:
        """Return the noise of each point of a batch."""
        place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        if self.spacing == "linear":
            return self.sigma_min + place * (self.sigma_max - self.sigma_min)
        return self.sigma_min * (place * math.log(self.sigma_max / self.sigma_min)).exp()

    def forward(
        self, model: Energy, x: Float[Tensor, "b d"], generator: Generator | None = None
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch.

        Args:
            model: the energy.
            x: points without noise, in any order: the first has the least noise.
            generator: of the noise; None: torch's global one.
        """
        x = widened_for(model, x)
        unit = noise_like(x, generator)
        level = self.levels(len(x)).to(x).view(-1, *[1] * (x.dim() - 1))
        _, slope = score_and_gradient(model, x + level * unit, create_graph=True)
        return (unit - self.sigma0**2 / level * slope).square().flatten(1).sum(1).mean()

    def score(self, model: Energy) -> Score:
        """Return what a model that has learned this tells samplers."""

        def field(x: Tensor) -> Tensor:
            return -score_and_gradient(model, x, False)[1]

        return Score(field, self.sigma0, lambda x, sigma: (self.sigma0 / sigma) ** 2 * field(x))
