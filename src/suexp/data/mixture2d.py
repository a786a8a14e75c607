"""Points of the plane whose density has no simple form."""

from typing import Any, ClassVar, Literal

from suexp.data._labelled import labelled
from suexp.data.base import Data
from suexp.errors import at_least

KINDS = ("two_moons", "circles", "pinwheel")


class Mixture2D(Data):
    r"""Draws of a mixture of noisy curves: $x = c_k(t) + \epsilon$, $\epsilon \sim N(0, s^2 I)$.

    ``two_moons``: the half circles $(\cos t, \sin t)$ and $(1 - \cos t, \frac12 - \sin t)$, t in
    $[0, \pi]$. ``circles``: circles of radius 1 and 1/2. ``pinwheel``: five arms, bent as their
    radius grows. All components are equally likely. A batch holds ``x`` (B, 2), float32, and
    ``label`` (B,), the component.

    Reference: scikit-learn's make_moons and make_circles, https://scikit-learn.org/stable/; the
    pinwheel of Johnson et al., https://arxiv.org/abs/1603.06277.

    Args:
        kind: two_moons, circles or pinwheel.
        num_train: rows for training.
        num_validation: rows for validation.
        noise: s; for the pinwheel the spread along an arm is six times it.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        seed: of the draws.

    Raises:
        ValueError: a value out of range.
    """

    provides: ClassVar[set[str]] = {"vectors", "labels", "plane"}

    def __init__(
        self,
        kind: Literal["two_moons", "circles", "pinwheel"] = "two_moons",
        num_train: int = 2000,
        num_validation: int = 1000,
        noise: float = 0.05,
        batch_size: int = 64,
        eval_batch_size: int = 512,
        seed: int = 0,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"data.kind must be one of {', '.join(KINDS)}, not {kind}")
        at_least(
            1,
            **{
                "data.num_train": num_train,
                "data.num_validation": num_validation,
                "data.batch_size": batch_size,
                "data.eval_batch_size": eval_batch_size,
            },
        )
        at_least(0, "data", noise=noise)
        self.kind, self.noise, self.seed = kind, noise, seed
        self.rows = {"train": num_train, "validation": num_validation}
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size

    def splits(self) -> dict[str, Any]:
        """Return the two splits, made in memory."""
        from datasets.table import InMemoryTable

        from suexp.data.rows import Rows, record_batch

        splits = {}
        for place, (name, rows) in enumerate(self.rows.items()):
            points, labels = self._draw(rows, place)
            batch = record_batch({"x": points, "label": labels})
            table = InMemoryTable.from_batches([batch])
            fingerprint = f"{self.fingerprint()[:20]}-{name}"
            splits[name] = Rows(table, fingerprint=fingerprint).with_format("numpy")
        return splits

    def _draw(self, rows: int, place: int) -> Any:
        import numpy as np

        generator = np.random.default_rng([self.seed, place])
        labels = generator.integers(5 if self.kind == "pinwheel" else 2, size=rows)
        t, noise = generator.random(rows), generator.normal(size=(rows, 2)) * self.noise
        if self.kind == "two_moons":
            upper = np.stack([np.cos(np.pi * t), np.sin(np.pi * t)], 1)
            points = np.where(labels[:, None] == 0, upper, [1, 0.5] - upper) + noise
        elif self.kind == "circles":
            circle = np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], 1)
            points = circle / (1 + labels[:, None]) + noise
        else:
            radius = 1 + 6 * noise[:, 0]
            angle = 2 * np.pi * labels / 5 + 0.25 * np.exp(radius)
            turn = np.stack([np.cos(angle), np.sin(angle)], 1)
            across = np.stack([-turn[:, 1], turn[:, 0]], 1)
            points = radius[:, None] * turn + noise[:, 1:] * across
        return points.astype(np.float32), labels

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these rows."""
        return labelled(rows)

    @property
    def sizes(self) -> dict[str, int]:
        """Two dimensions, and the number of components."""
        return {"input_dim": 2, "num_classes": 5 if self.kind == "pinwheel" else 2}

    def depends_on(self) -> Any:
        """Return what is drawn."""
        return [self.kind, self.rows, self.noise, self.seed]
