"""Codes whose neighbours are those of the rows that they stand for."""

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from suexp.data.base import Data
from suexp.errors import UserError
from suexp.loss.biohash import BioHash
from suexp.nn.hashing import average_precision
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated

AT = 100


class Hashing(Evaluated):
    r"""Learn $x \mapsto h \in \{0, 1\}^K$ without labels, and look for neighbours by h.

    Batches hold vectors ``x`` (B, D), which are brought to size 1, and ``label`` (B,). For
    validation: ``energy``, the mean of $-\langle W_\mu, x \rangle / |W_\mu|$; ``alive``, the share
    of units that win some training row; ``map_at_100``, the mean average precision of the held-out
    rows' 100 nearest training rows by code, and ``cosine_map_at_100``, that by the vectors
    themselves.

    Post: https://kexue.fm/archives/8159. Paper: Ryali et al., Bio-Inspired Hashing for Unsupervised
    Similarity Search, arXiv:2001.04907.

    """

    provides: ClassVar[set[str]] = {"codes"}
    needs: ClassVar[dict[str, str]] = {
        "vectors": "it codes vectors; use data=digits or data=idx",
        "labels": "it counts neighbours of one class; use data=digits",
        "hash": "it learns codes; use model=hash_bio",
    }

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.energy, self.found, self.by_cosine = (weighted_mean() for _ in range(3))
        self._alive = 0.0

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the input."""
        return {"input_dim": data.sizes["input_dim"]}

    def inputs(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what the model codes."""
        return F.normalize(batch["x"], dim=-1)

    def _training_rows(self) -> tuple[Tensor, Tensor]:
        rows = self.data.splits()["train"]
        batch = self.received(self.data.collate(rows.__getitems__(list(range(len(rows))))))
        return self.inputs(batch), batch["label"]

    def on_fit_start(self) -> None:
        """Let the model begin at training rows, where it does.

        Raises:
            UserError: there are too few.
        """
        if hasattr(self.model, "begin") and not bool(self.model.begun):
            try:
                self.model.begin(self._training_rows()[0])
            except ValueError as error:
                raise UserError(str(error)) from error

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch."""
        return self.loss(self.model, self.inputs(batch))

    def _begin_split(self) -> None:
        """Code the rows among which neighbours are looked for."""
        self._rows, self._label = self._training_rows()
        self._codes = self.model.encode(self._rows)
        winners = self.model(self._rows).argmax(-1).unique()
        self._alive = len(winners) / len(self.model.weight)

    def on_validation_epoch_start(self) -> None:
        """Code the training rows."""
        self._begin_split()

    def on_test_epoch_start(self) -> None:
        """Code the training rows."""
        self._begin_split()

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add a batch's energy, and how well its codes find."""
        x = self.inputs(batch)
        self.energy.update(BioHash.energy(self.model, x))
        relevant = batch["label"][:, None] == self._label
        near = self.model.similarity(self.model.encode(x), self._codes)
        self.found.update(average_precision(near, relevant, AT))
        self.by_cosine.update(average_precision(x @ self._rows.T, relevant, AT))

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        energy = self.energy.compute()
        metrics = {
            "loss": energy,
            "energy": energy,
            "alive": self._alive,
            "map_at_100": self.found.compute(),
            "cosine_map_at_100": self.by_cosine.compute(),
        }
        self.report({f"{split}/{name}": value for name, value in metrics.items()})
        for metric in (self.energy, self.found, self.by_cosine):
            metric.reset()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return super().worst(split) | {f"{split}/energy": 0.0, f"{split}/map_at_100": 0.0}
