"""Two classes whose vectors are normal."""

from typing import Any

from suexp.data.vectors import Vectors, Whitening
from suexp.errors import at_least, between

DRAWS = 17  # begins the seeds of these rows, whatever else is drawn with the same seed


class GaussianClasses(Vectors):
    r"""Draws of $x | 0 \sim N(0, I)$ and $x | 1 \sim N(\delta, s I)$ in D dimensions.

    $|\delta|$ is ``distance``, shared evenly by the features, and $P(1)$ is ``share``. With s = 1
    the two have one covariance, and a linear layer after softmax is the truth:
    $\log \frac{p(1|x)}{p(0|x)} = \delta \cdot x - \frac{|\delta|^2}{2} + \log \frac{P(1)}{P(0)}$.
    With another s the truth is quadratic. A batch holds ``x`` (B, dim), float32, and ``label``
    (B,).

    References: the assumption of https://kexue.fm/archives/8578; Efron, The Efficiency of Logistic
    Regression Compared to Normal Discriminant Analysis, JASA 1975.

    Args:
        dim: D.
        distance: between the means.
        spread: s, the variance of class 1 in units of that of class 0.
        share: of class 1.
        num_train: rows for training.
        num_validation: rows for validation.
        whiten: by what the training rows say; see data=sklearn.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        seed: of the draws.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        dim: int = 10,
        distance: float = 2.0,
        spread: float = 1.0,
        share: float = 0.3,
        num_train: int = 1000,
        num_validation: int = 20000,
        whiten: Whitening = "none",
        batch_size: int = 32,
        eval_batch_size: int = 5000,
        seed: int = 0,
    ) -> None:
        super().__init__(whiten, batch_size, eval_batch_size)
        at_least(1, "data", dim=dim, num_train=num_train, num_validation=num_validation)
        at_least(0, "data", distance=distance)
        between("(0, inf)", **{"data.spread": spread})
        between("(0, 1)", **{"data.share": share})
        self.dim, self.distance, self.spread, self.share = dim, distance, spread, share
        self.rows = {"train": num_train, "validation": num_validation}
        self.seed = seed

    @property
    def sizes(self) -> dict[str, int]:
        """Return the numbers of features and of classes."""
        return {"input_dim": self.dim, "num_classes": 2}

    def depends_on(self) -> list[Any]:
        """Return what the rows depend on."""
        shape = [self.dim, self.distance, self.spread, self.share]
        return [self.whiten, *shape, self.rows, self.seed]

    def tables(self) -> dict[str, tuple[Any, Any]]:
        """Return the splits."""
        return {split: self._draw(split, size) for split, size in self.rows.items()}

    def _draw(self, split: str, size: int) -> tuple[Any, Any]:
        import numpy as np

        draw = np.random.default_rng([DRAWS, self.seed, split == "train"])
        label = (draw.random(size) < self.share).astype(np.int64)
        if split == "train" and size > 1:
            label[:2] = 0, 1  # both classes have a row
        noise = draw.standard_normal((size, self.dim))
        deviation = np.where(label, np.sqrt(self.spread), 1.0)[:, None]
        return label[:, None] * self.distance / np.sqrt(self.dim) + deviation * noise, label
