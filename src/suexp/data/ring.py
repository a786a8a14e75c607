"""Gaussians on a circle, the usual first test of a generative model in the plane."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from suexp.data._labelled import labelled
from suexp.data.base import Data
from suexp.errors import at_least

if TYPE_CHECKING:
    from suexp.nn.gaussian_mixture import GaussianMixture


class Ring(Data):
    r"""Points of num_modes Gaussians of deviation std around a circle of a given radius.

    $x = r(\cos\theta_k, \sin\theta_k) + \sigma\epsilon$ with $\theta_k = 2\pi k/K$, k uniform or by
    ``weights``. A batch holds ``x`` (B, 2), float32, and ``label`` (B,), the k of each point.

    References: https://kexue.fm/archives/8757 tries its critics on such a set; it is that of
    Metz et al., Unrolled Generative Adversarial Networks, arXiv:1611.02163, appendix A.

    Args:
        num_modes: K.
        radius: r.
        std: $\sigma$, the deviation of each coordinate.
        num_train: points for training.
        num_validation: points for validation.
        batch_size: points of a training step.
        eval_batch_size: points of an evaluation step.
        seed: of the points.
        weights: shares of the modes, in their order; None: equal ones.

    Raises:
        ValueError: a number out of range, weights that are not one for each mode.
    """

    provides: ClassVar[set[str]] = {"vectors", "labels", "plane", "known_density"}

    def __init__(
        self,
        num_modes: int = 8,
        radius: float = 2.0,
        std: float = 0.1,
        num_train: int = 50_000,
        num_validation: int = 1000,
        batch_size: int = 128,
        eval_batch_size: int = 500,
        seed: int = 0,
        weights: Sequence[float] | None = None,
    ) -> None:
        at_least(
            1,
            "data",
            num_modes=num_modes,
            num_train=num_train,
            num_validation=num_validation,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
        )
        if not (radius >= 0 and std > 0):
            raise ValueError(f"data.radius {radius} must not be negative, data.std {std} above 0")
        if weights is not None:
            at_least(0, "data", weights=weights)
            if len(weights) != num_modes or not sum(weights) > 0:
                raise ValueError(
                    f"data.weights {list(weights)} must be one for each of {num_modes}"
                )
        self.weights = None if weights is None else [w / sum(weights) for w in weights]
        self.num_modes, self.radius, self.std, self.seed = num_modes, radius, std, seed
        self.counts = {"train": num_train, "validation": num_validation}
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size

    @property
    def centres(self) -> list[list[float]]:
        """The centres of the modes, (num_modes, 2)."""
        angles = [2 * math.pi * k / self.num_modes for k in range(self.num_modes)]
        return [[self.radius * math.cos(a), self.radius * math.sin(a)] for a in angles]

    @property
    def law(self) -> "GaussianMixture":
        """The density of the points."""
        from suexp.nn.gaussian_mixture import GaussianMixture

        weights = self.weights or [1.0] * self.num_modes
        return GaussianMixture(weights, self.centres, self.std**2)

    def splits(self) -> dict[str, Any]:
        """Return the two splits, drawn in memory."""
        return {name: self._draw(name, number) for number, name in enumerate(self.counts)}

    def _draw(self, name: str, number: int) -> Any:
        import numpy as np
        import pyarrow as pa
        from datasets.table import InMemoryTable

        from suexp.data.rows import Rows

        random = np.random.default_rng([self.seed, number])
        if self.weights is None:
            label = random.integers(self.num_modes, size=self.counts[name])
        else:
            label = random.choice(self.num_modes, self.counts[name], p=self.weights)
        noise = random.standard_normal((len(label), 2))
        x = (np.array(self.centres)[label] + self.std * noise).astype(np.float32)
        columns = {"x": pa.FixedSizeListArray.from_arrays(x.ravel(), 2), "label": label}
        table = InMemoryTable.from_pydict(columns)
        rows = Rows(table, fingerprint=f"{self.fingerprint()[:40]}-{name}")
        return rows.with_format("numpy")

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these points."""
        return labelled(rows)

    @property
    def sizes(self) -> dict[str, int]:
        """Two coordinates, a class for each mode."""
        return {"input_dim": 2, "num_classes": self.num_modes}

    def depends_on(self) -> Any:
        """Return the arguments."""
        drawn = [self.num_modes, self.radius, self.std, self.seed, *self.counts.values()]
        return drawn if self.weights is None else [*drawn, *self.weights]
