"""The reverse SDE of a density that noise dissolves."""

from torch import Generator

from suexp.errors import at_least
from suexp.nn.sde import solve
from suexp.sampler._levels import Levels
from suexp.sampler.base import Points, Score


class EulerMaruyama(Levels):
    r"""$x \leftarrow x + c \nabla\log p_\sigma(x) \Delta v + \lambda\sqrt{\Delta v} z$, noise z.

    $c = \frac{1+\lambda^2}2$, and $v = \sigma^2$ falls from $\sigma_{max}^2$ to $\sigma_{min}^2$ by
    steps $\Delta v$: those of Euler and Maruyama for
    $dx = -\frac{1+\lambda^2}{2} \nabla\log p\,dv + \lambda\,d\bar w$, whose law at every $\sigma$
    is that of the data with that noise, for every $\lambda$. Shapes: points (n, d).

    Post: https://kexue.fm/archives/9228, whose family of SDEs this is; checked by
    https://kexue.fm/archives/9461. Paper: Song et al., arXiv:2011.13456 (variance exploding).

    Args:
        noise_level: $\lambda$; 1: the usual reverse SDE.
        sigma_max: the largest noise.
        sigma_min: the last.
        steps: from one to the other, spaced geometrically.
        start_mean: mean of what points start from.
        final_denoise: whether a last step takes the model's noise off the points.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import torch
        >>> from suexp.sampler.base import Score
        >>> walk = EulerMaruyama(sigma_max=5.0, sigma_min=0.05, start_mean=0.0)
        >>> score = Score(lambda x: -x, at=lambda x, sigma: -x / (1 + sigma**2))
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = walk(score, walk.start(2000, 1, generator), generator)
        >>> bool(abs(x.std() - 1) < 0.1)
        True
    """

    def __init__(
        self,
        noise_level: float = 1.0,
        sigma_max: float = 1.2,
        sigma_min: float = 0.05,
        steps: int = 200,
        start_mean: float = 0.5,
        final_denoise: bool = True,
    ) -> None:
        super().__init__(sigma_max, sigma_min, steps, start_mean, final_denoise)
        at_least(0, noise_level=noise_level)
        self.noise_level = noise_level

    def walk(self, score: Score, x: Points, generator: Generator | None) -> Points:
        """Return the points at the last level."""
        weight, level = -(1 + self.noise_level**2) / 2, self.noise_level
        return solve(
            "euler_maruyama",
            lambda v, y: weight * self.pull(score, v, y),
            (lambda _: level) if level else None,
            x,
            self.variances,
            generator,
        )
