"""Pictures for which the heat equation's prior holds exactly."""

import math
from pathlib import Path
from typing import Any, ClassVar

from suexp.data._labelled import labelled
from suexp.data.base import Data
from suexp.data.cache import cached
from suexp.errors import at_least

WAVE_NUMBERS = 0.55, 0.85  # rad a pixel, of even and of odd classes


class PlaneWaves(Data):
    r"""Two plane waves and noise: $u(p) = \cos(k_c p + \phi) + a \cos(k_d p + \psi) + \sigma n$.

    Class c has the angle $\pi c / C$ and the wave number 0.55 rad a pixel where c is even, 0.85
    where it is odd; $d \ne c$ is another class, uniformly drawn, as both phases are; n is white.
    Waves of angles that differ by $\pi$ are the same but for the phase, so that the angles fill
    half a circle. Each solves $u_{xx} = -k_x^2 u$, and so along y: pixels follow from their
    neighbours linearly. A batch holds ``x`` (B, size^2), float32, row by row, and ``label`` (B,),
    the c of each picture.

    Post: https://kexue.fm/archives/9359. Paper: Chen et al., Self-Supervised Learning based on Heat
    Equation, arXiv:2211.13228; the data are ours.

    Args:
        num_classes: C.
        size: side of a picture in pixels.
        noise: $\sigma$.
        second: a, the other wave's amplitude.
        num_train: pictures for training.
        num_validation: pictures for validation.
        max_rows: the most pictures that training reads, the first of them; None: all.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        seed: of the pictures.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> from suexp.data import PlaneWaves
        >>> PlaneWaves(size=8).sizes
        {'input_dim': 64, 'num_classes': 12}
    """

    provides: ClassVar[set[str]] = {"vectors", "images", "labels"}

    def __init__(
        self,
        num_classes: int = 12,
        size: int = 16,
        noise: float = 0.7,
        second: float = 0.5,
        num_train: int = 20_000,
        num_validation: int = 500,
        max_rows: int | None = None,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        seed: int = 0,
    ) -> None:
        at_least(2, "data", num_classes=num_classes)
        at_least(1, "data", most=1024, size=size)
        at_least(1, "data", num_train=num_train, num_validation=num_validation, max_rows=max_rows)
        at_least(1, "data", batch_size=batch_size, eval_batch_size=eval_batch_size)
        at_least(0, "data", noise=noise, second=second)
        self.num_classes, self.size, self.noise, self.second = num_classes, size, noise, second
        self.rows = {"train": num_train, "validation": num_validation}
        self.max_rows, self.seed = max_rows, seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size

    @property
    def vectors(self) -> list[tuple[float, float]]:
        """The classes' wave vectors (x, y) in radians a pixel."""
        angles = [math.pi * c / self.num_classes for c in range(self.num_classes)]
        return [
            (WAVE_NUMBERS[c % 2] * math.cos(angle), WAVE_NUMBERS[c % 2] * math.sin(angle))
            for c, angle in enumerate(angles)
        ]

    def splits(self) -> dict[str, Any]:
        """Return the two splits, written on first use."""
        from suexp.data.rows import open_rows

        folder = cached(f"plane_waves-{self.fingerprint()[:20]}", self._prepare)
        return {
            name: open_rows(folder / f"{name}.arrow", f"{folder.name}-{name}") for name in self.rows
        }

    def _prepare(self, folder: Path) -> None:
        import numpy as np

        from suexp.data.rows import write_rows

        for place, (name, rows) in enumerate(self.rows.items()):
            generator = np.random.default_rng([self.seed, place])
            label = generator.integers(self.num_classes, size=rows)
            other = (label + generator.integers(1, self.num_classes, size=rows)) % self.num_classes
            x = self._waves(label, generator) + self.second * self._waves(other, generator)
            x = x + self.noise * generator.standard_normal(x.shape)
            kept = slice(self.max_rows if name == "train" else None)
            table = {"x": x[kept].astype("f4"), "label": label[kept]}
            write_rows(folder / f"{name}.arrow", [table])

    def _waves(self, label: Any, generator: Any) -> Any:
        """Return the waves (rows, size^2) of these classes, each of another phase."""
        import numpy as np

        y, x = np.indices((self.size, self.size)).reshape(2, -1)
        vectors = np.array(self.vectors)[label]
        phase = generator.uniform(0, 2 * math.pi, (len(label), 1))
        return np.cos(vectors @ np.stack([x, y]) + phase)

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these rows."""
        return labelled(rows)

    @property
    def sizes(self) -> dict[str, int]:
        """Pixels and classes."""
        return {"input_dim": self.size**2, "num_classes": self.num_classes}

    def depends_on(self) -> Any:
        """Return what is drawn."""
        drawn = [self.num_classes, self.size, self.noise, self.second, self.rows]
        return [*drawn, self.max_rows, self.seed]
