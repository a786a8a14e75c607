"""The contract of every sampler, and of what it asks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from suexp.component import Component
from suexp.errors import between

Points = Float[Tensor, "n d"]


@dataclass(frozen=True)
class Score:
    r"""What a model says of a density: its score, and the noise that the density has.

    Attributes:
        field: $x \mapsto \nabla \log p(x)$, of the density that the model stands for.
        sigma: the noise of that density, which a last step removes; 0: none.
        at: $(x, \sigma) \mapsto \nabla \log p_\sigma(x)$ of the density with that noise; None: the
            model knows one density only.
    """

    field: Callable[[Tensor], Tensor]
    sigma: float = 0.0
    at: Callable[[Tensor, float], Tensor] | None = None

    def denoised(self, x: Points) -> Points:
        r"""Return $E[x_0|x] = x + \sigma^2 \nabla \log p(x)$."""
        return x if self.sigma == 0 else torch.add(x, self.field(x), alpha=self.sigma**2)


class Sampler(Component):
    r"""Moves points along a score until they are drawn from its density: $x = S(\nabla\log p, x)$.

    All points move at once, each by itself; shapes: points (n, d). No graph is kept. Steps are
    those of `suexp.nn.sde`.

    Args:
        start_mean: mean of what points start from, in every coordinate.
        start_std: its deviation.
        final_denoise: whether the points end where a last step takes the model's noise off them.

    Raises:
        ValueError: a deviation that is not above 0.
    """

    needs: ClassVar[dict[str, str]] = {
        "score": "it follows the gradient of a log-density; use task=score_energy"
    }

    def __init__(self, start_mean: float, start_std: float, final_denoise: bool) -> None:
        between("(0, inf)", start_std=start_std)
        self.start_mean, self.start_std = start_mean, start_std
        self.final_denoise = final_denoise

    def start(self, count: int, dim: int, generator: Generator, **like: Any) -> Points:
        """Return points to start from.

        Args:
            count: n.
            dim: d.
            generator: of the noise.
            like: their ``dtype`` and ``device``.
        """
        noise = torch.randn(count, dim, generator=generator, **like)
        return self.start_mean + self.start_std * noise

    def walk(self, score: Score, x: Points, generator: Generator | None) -> Points:
        """Return the points after all steps."""
        raise NotImplementedError

    @torch.no_grad()
    def __call__(self, score: Score, x: Points, generator: Generator | None = None) -> Points:
        """Return points of the density, in the order of those that they started from.

        Args:
            score: of the density.
            x: where they start.
            generator: of the noise; None: torch's global one.
        """
        x = self.walk(score, x, generator)
        return score.denoised(x) if self.final_denoise else x
