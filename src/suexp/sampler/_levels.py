"""What samplers share that go down through levels of noise."""

from typing import ClassVar

from suexp.errors import at_least, between
from suexp.sampler.base import Points, Sampler, Score


class Levels(Sampler):
    r"""From noise $\sigma_{max}$ to $\sigma_{min}$, back along $dx = dw$ in the time $\sigma^2$.

    Points start from a normal law of the largest noise; levels are spaced geometrically.

    Args:
        sigma_max: the largest noise, beside which the data are narrow.
        sigma_min: the last.
        steps: from one to the other.
        start_mean: mean of what points start from.
        final_denoise: whether a last step takes the model's noise off the points.

    Raises:
        ValueError: levels that do not fall, no step.
    """

    needs: ClassVar[dict[str, str]] = {
        "score": "it follows the gradient of a log-density; use task=score_energy",
        "noise_levels": "it goes down through levels of noise, of which one is learned; use "
        "loss=multiscale_score, or sampler=langevin",
    }

    def __init__(
        self,
        sigma_max: float,
        sigma_min: float,
        steps: int,
        start_mean: float,
        final_denoise: bool,
    ) -> None:
        super().__init__(start_mean, sigma_max, final_denoise)
        between("(0, inf)", sigma_min=sigma_min)
        at_least(1, steps=steps)
        if sigma_max <= sigma_min:
            raise ValueError(f"sigma_max {sigma_max} must be above sigma_min {sigma_min}")
        fall = (sigma_min / sigma_max) ** (2 / steps)
        self.variances = [sigma_max**2 * fall**i for i in range(steps + 1)]

    @staticmethod
    def pull(score: Score, variance: float, x: Points) -> Points:
        """Return the score of the density with noise of this variance.

        Raises:
            ValueError: the model knows one density only.
        """
        if score.at is None:
            raise ValueError("the score is that of one noise; use sampler=langevin")
        return score.at(x, variance**0.5)
