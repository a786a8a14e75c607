"""Langevin dynamics, at one temperature or from a high one down."""

import math
from typing import Literal

from torch import Generator

from suexp.errors import at_least, between, one_of
from suexp.nn.sde import solve
from suexp.sampler.base import Points, Sampler, Score


class Langevin(Sampler):
    r"""$x \leftarrow x + \frac{\epsilon^2}{2} \nabla\log p(x) + \sqrt{T}\,\epsilon z$, z normal.

    At T = 1 its stationary density is p, up to an error of the order of $\epsilon^2$; nothing is
    rejected. ``annealed``: T stays at ``t_max`` for ``hold_steps``, falls geometrically to 1 in
    ``anneal_steps``, then linearly to 0 in ``freeze_steps``. ``plain``: T = 1 throughout, for as
    many steps in all. Shapes: points (n, d).

    Post: https://kexue.fm/archives/7038. Papers: Li et al., arXiv:1910.07762, whose code has 500,
    2000 and 200 steps; Welling and Teh, Bayesian Learning via Stochastic Gradient Langevin
    Dynamics, https://dl.acm.org/doi/10.5555/3104482.3104568.

    Args:
        step: $\epsilon$.
        schedule: ``annealed`` or ``plain``.
        t_max: the first temperature.
        hold_steps: how long it stays.
        anneal_steps: how long it falls to 1.
        freeze_steps: how long it falls to 0.
        start_mean: mean of what points start from.
        start_std: its deviation.
        final_denoise: whether a last step takes the model's noise off the points.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import torch
        >>> from suexp.sampler.base import Score
        >>> walk = Langevin(step=0.3, schedule="plain", hold_steps=0, anneal_steps=200)
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = walk(Score(lambda x: -x), walk.start(2000, 1, generator), generator)
        >>> bool(abs(x.std() - 1) < 0.1)
        True
    """

    def __init__(
        self,
        step: float = 0.02,
        schedule: Literal["annealed", "plain"] = "annealed",
        t_max: float = 100.0,
        hold_steps: int = 60,
        anneal_steps: int = 300,
        freeze_steps: int = 40,
        start_mean: float = 0.5,
        start_std: float = 1.0,
        final_denoise: bool = True,
    ) -> None:
        super().__init__(start_mean, start_std, final_denoise)
        between("(0, inf)", step=step)
        one_of(("annealed", "plain"), schedule=schedule)
        at_least(1, t_max=t_max)
        at_least(0, hold_steps=hold_steps, anneal_steps=anneal_steps, freeze_steps=freeze_steps)
        self.step, self.schedule, self.t_max = step, schedule, t_max
        self.stages = (hold_steps, anneal_steps, freeze_steps)

    def temperature(self, number: int) -> float:
        """Return T of a step, numbered from 0."""
        hold, anneal, freeze = self.stages
        if self.schedule == "plain":
            return 1.0
        if number < hold:
            return self.t_max
        if number < hold + anneal:
            return float(self.t_max ** (1 - (number - hold + 1) / anneal))
        return 1 - (number - hold - anneal + 1) / freeze

    def walk(self, score: Score, x: Points, generator: Generator | None) -> Points:
        """Return the points after all steps."""
        h = self.step**2

        def drift(_: float, y: Points) -> Points:
            return score.field(y) / 2

        def diffusion(t: float) -> float:
            return math.sqrt(self.temperature(round(t / h)))

        times = [number * h for number in range(sum(self.stages) + 1)]
        return solve("euler_maruyama", drift, diffusion, x, times, generator)
