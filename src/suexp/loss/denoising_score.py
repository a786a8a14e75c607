"""Denoising score matching at one level of noise."""

from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from suexp.component import Component
from suexp.nn.input_gradient import score_and_gradient, widened
from suexp.nn.ramp import Number, ramp
from suexp.sampler.base import Score

Energy = Callable[[Tensor], Tensor]


def noise_like(x: Tensor, generator: Generator | None) -> Tensor:
    """Return standard normal noise of x's shape; generator None: torch's global one."""
    return torch.empty_like(x).normal_(generator=generator)


class DenoisingScore(nn.Module, Component):
    r"""$L = E\,|\sigma \nabla s(u) + \eta/\sigma|^2$, $s = -E$, $u = x + \eta$, noise $\eta$.

    Its best s is $\log p_\sigma + C$, the density of the noised data: a density without a
    normalising constant in training. The least value is not 0 but $d - \sigma^2 E|\nabla\log
    p_\sigma|^2$, and every other s has $E|\sigma(\nabla s - \nabla\log p_\sigma)|^2$ more.

    The post's form is $|\nabla s + \eta/\sigma^2|^2$; this one, $\sigma^2$ times it, is of order d
    at every noise. The residual of the denoiser $u + \sigma^2\nabla s$ is $\sigma$ times it.
    Shapes: points (b, d), energies (b,); float32 at least, whatever autocast says.

    Post: https://kexue.fm/archives/7038. Papers: Vincent, A Connection Between Score Matching and
    Denoising Autoencoders, https://doi.org/10.1162/NECO_a_00142; Bigdeli et al., Learning
    Generative Models using Denoising Density Estimators, arXiv:2001.02728.

    Args:
        sigma: deviation of the noise, above 0; ``{start: 2, end: 0.5, steps: 500}`` changes along
            the run.

    Raises:
        ValueError: noise that is not above 0.

    Example:
        >>> import torch
        >>> from suexp.loss import DenoisingScore
        >>> x = torch.zeros(20_000, 2)  # u is N(0, I): the best energy is |u|^2/2, its loss 0
        >>> loss = DenoisingScore(sigma=1.0)(lambda u: u.square().sum(-1) / 2, x)
        >>> bool(loss < 1e-10)
        True
    """

    provides: ClassVar[set[str]] = {"denoising"}
    needs: ClassVar[dict[str, str]] = {
        "energy or two_energies": "it learns a scalar by its gradient; use model=energy_mlp with "
        "task=score_energy"
    }
    needs_step: ClassVar[bool] = True
    step: int = 0

    def __init__(self, sigma: Number = 0.5) -> None:
        super().__init__()
        self.ramp = ramp(sigma, "loss.sigma", 1e-6)

    @property
    def sigma(self) -> float:
        """The noise at the present step."""
        return self.ramp(self.step)

    def forward(
        self, model: Energy, x: Float[Tensor, "b d"], generator: Generator | None = None
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch.

        Args:
            model: the energy.
            x: points without noise.
            generator: of the noise; None: torch's global one.
        """
        x = widened_for(model, x)
        unit = noise_like(x, generator)
        _, slope = score_and_gradient(model, x + self.sigma * unit, create_graph=True)
        return (unit - self.sigma * slope).square().flatten(1).sum(1).mean()

    def score(self, model: Energy) -> Score:
        """Return what a model that has learned this tells samplers."""
        return Score(lambda x: -score_and_gradient(model, x, False)[1], self.sigma)


def widened_for(model: Energy, x: Tensor) -> Tensor:
    """Return x in float32 at least, where a network's weights are; a function takes it as it is."""
    return widened(x, model) if isinstance(model, nn.Module) else x
