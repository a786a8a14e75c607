"""The ordinary differential equation with the same densities as the reverse SDE."""

from typing import Literal

from torch import Generator

from suexp.errors import one_of
from suexp.nn.sde import solve
from suexp.sampler._levels import Levels
from suexp.sampler.base import Points, Score


class ODE(Levels):
    r"""$\frac{dx}{dv} = -\frac12 \nabla\log p_\sigma(x)$ from $v = \sigma_{max}^2$ down, no noise.

    Where points end is a function of where they start. Shapes: points (n, d).

    Post: https://kexue.fm/archives/9228; checked by https://kexue.fm/archives/9461. Paper: Song et
    al., arXiv:2011.13456 (probability flow).

    Args:
        method: of a step: ``heun``, ``rk4`` or ``euler_maruyama``, which is Euler's without noise.
        sigma_max: the largest noise.
        sigma_min: the last.
        steps: from one to the other, spaced geometrically.
        start_mean: mean of what points start from.
        final_denoise: whether a last step takes the model's noise off the points.

    Raises:
        ValueError: a number out of range, an unknown method.

    Example:
        >>> import torch
        >>> from suexp.sampler.base import Score
        >>> walk = ODE(sigma_max=3.0, sigma_min=0.01, start_mean=0.0)
        >>> score = Score(lambda x: -x, at=lambda x, sigma: -x / (1 + sigma**2))
        >>> x = walk(score, torch.tensor([[10.0**0.5]]))
        >>> round(x.item(), 2)
        1.0
    """

    def __init__(
        self,
        method: Literal["heun", "rk4", "euler_maruyama"] = "heun",
        sigma_max: float = 1.2,
        sigma_min: float = 0.05,
        steps: int = 100,
        start_mean: float = 0.5,
        final_denoise: bool = True,
    ) -> None:
        super().__init__(sigma_max, sigma_min, steps, start_mean, final_denoise)
        one_of(("heun", "rk4", "euler_maruyama"), method=method)
        self.method = method

    def walk(self, score: Score, x: Points, generator: Generator | None) -> Points:
        """Return the points at the last level."""
        del generator  # nothing is drawn

        def drift(v: float, y: Points) -> Points:
            return -0.5 * self.pull(score, v, y)

        return solve(self.method, drift, None, x, self.variances)
