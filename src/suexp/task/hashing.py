"""Codes whose neighbours are those of the rows that they stand for."""

import math
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from suexp.errors import at_least
from suexp.nn.hashing import average_precision
from suexp.task._codes import LearnedCodes
from suexp.task._mean import weighted_mean

AT = 100


class Hashing(LearnedCodes):
    r"""Learn $x \mapsto h \in \{0, 1\}^K$ without labels, and look for neighbours by h.

    Batches hold vectors ``x`` (B, D), which are brought to size 1, and ``label`` (B,). For
    validation: ``energy``, the mean of $-\langle W_\mu, x \rangle / |W_\mu|$, and
    ``train_energy``, that of the training rows; ``alive``, the share of units that win some
    training row; ``map_at_100``, the mean average precision of the held-out rows' 100 nearest
    training rows by code, and ``cosine_map_at_100``, that by the vectors themselves. The table
    ``codes`` has both, beside ``hash``, ``num_bits`` and ``storage_bits``.

    Post: https://kexue.fm/archives/8159. Paper: Ryali et al., Bio-Inspired Hashing for Unsupervised
    Similarity Search, arXiv:2001.04907.

    Args:
        shown: how many units are recorded as pictures, in the table ``units``, where rows are
            squares: unit, row, column, weight.

    Raises:
        ValueError: a number below 0.
    """

    needs: ClassVar[dict[str, str]] = {
        "vectors": "it codes vectors; use data=digits or data=idx",
        "labels": "it counts neighbours of one class; use data=digits",
        "hash": "it learns codes; use model=hash_bio",
    }

    def __init__(self, shown: int = 0, **parts: Any) -> None:
        at_least(0, "task", shown=shown)
        super().__init__(**parts)
        self.shown = shown
        self.by_code, self.by_cosine = weighted_mean(), weighted_mean()

    def inputs(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what the model codes."""
        return F.normalize(batch["x"], dim=-1)

    def beginnings(self, count: int) -> Tensor:
        """Return all training rows."""
        del count
        return self.training_rows()

    def training_rows(self) -> Tensor:
        """Return all training rows."""
        return self.inputs(self._whole())

    def _whole(self) -> dict[str, Tensor]:
        return self.batch_of("train", list(range(len(self.data.splits()["train"]))))

    def look_at(self, rows: Any) -> None:
        """Code the rows among which neighbours are looked for."""
        super().look_at(rows)
        self._rows, self._label = rows, self._whole()["label"]
        self._codes = self.model.encode(rows)

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add a batch's energy, and how well its codes find."""
        super().evaluate(batch)
        x = self.inputs(batch)
        relevant = batch["label"][:, None] == self._label
        near = self.model.similarity(self.model.encode(x), self._codes)
        self.by_code.update(average_precision(near, relevant, AT))
        self.by_cosine.update(average_precision(x @ self._rows.T, relevant, AT))

    def found(self) -> dict[str, Any]:
        """Return how well codes and vectors find rows of the same class."""
        found = {
            "map_at_100": self.by_code.compute(),
            "cosine_map_at_100": self.by_cosine.compute(),
        }
        self.by_code.reset()
        self.by_cosine.reset()
        self._show(found)
        return found

    def _show(self, found: dict[str, Any]) -> None:
        row = {"hash": type(self.model).__name__, "num_bits": self.model.num_bits}
        row |= {"storage_bits": round(self.model.storage_bits, 2)}
        self.tables.pop("codes", None)
        self.record_rows("codes", [row | {name: float(value) for name, value in found.items()}])
        side = math.isqrt(self.model.weight.shape[1])
        if not self.shown or side**2 != self.model.weight.shape[1]:
            return
        self.tables.pop("units", None)
        for unit, weights in enumerate(self.model.weight[: self.shown].tolist()):
            pixels = [divmod(place, side) for place in range(side**2)]
            rows = [
                {"unit": unit, "row": i, "column": j, "weight": round(weight, 4)}
                for (i, j), weight in zip(pixels, weights, strict=True)
            ]
            self.record_rows("units", rows)

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return super().worst(split) | {f"{split}/energy": 0.0, f"{split}/map_at_100": 0.0}
