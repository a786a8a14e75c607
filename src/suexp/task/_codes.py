"""What all tasks that learn codes have in common."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from suexp.data.base import Data
from suexp.errors import UserError
from suexp.loss.biohash import BioHash
from suexp.nn.hashing import Bag
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated


class LearnedCodes(Evaluated):
    r"""Learn codes of rows without labels.

    For validation: ``energy``, the mean of $-\langle W_\mu, x / p \rangle / |W_\mu|$;
    ``train_energy``, that of training rows; ``alive``, the share of units that win one of them;
    ``storage_bits``, what a code takes up, log2 of how many there are.
    """

    provides: ClassVar[set[str]] = {"codes"}

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.energy = weighted_mean()
        self._of_training: dict[str, Any] = {}

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the input."""
        return {"input_dim": data.sizes["input_dim"]}

    def inputs(self, batch: dict[str, Tensor]) -> Tensor | Bag:
        """Return what the model codes."""
        raise NotImplementedError

    def beginnings(self, count: int) -> Tensor:
        """Return training rows, so many at least, where units may begin."""
        raise NotImplementedError

    def training_rows(self) -> Tensor | Bag:
        """Return the training rows, or as many as are looked at."""
        raise NotImplementedError

    def batch_of(self, split: str, rows: list[int]) -> dict[str, Tensor]:
        """Return rows of a split as a batch."""
        table = self.data.splits()[split]
        return self.received(self.data.collate(table.__getitems__(rows)))

    def on_fit_start(self) -> None:
        """Let the model begin at training rows, where it does.

        Raises:
            UserError: there are too few.
        """
        if hasattr(self.model, "begin") and not bool(self.model.begun):
            try:
                self.model.begin(self.beginnings(len(self.model.weight)))
            except ValueError as error:
                raise UserError(str(error)) from error
            # All processes begin alike.
            self.model.weight.data.copy_(self.trainer.strategy.broadcast(self.model.weight.data))

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch."""
        loss: Tensor = self.loss(self.model, self.inputs(batch))
        return loss

    @torch.no_grad()
    def look_at(self, rows: Tensor | Bag) -> None:
        """See which units win training rows, and how near they are."""
        winners = self.model(rows).argmax(-1).unique()
        self._of_training = {
            "train_energy": BioHash.energy(self.model, rows).mean(),
            "alive": len(winners) / len(self.model.weight),
        }

    def on_validation_epoch_start(self) -> None:
        """Look at the training rows."""
        self.look_at(self.training_rows())

    def on_test_epoch_start(self) -> None:
        """Look at the training rows."""
        self.look_at(self.training_rows())

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add a batch's energy."""
        self.energy.update(BioHash.energy(self.model, self.inputs(batch)))

    def found(self) -> dict[str, Any]:
        """Return how well codes find what they should, and begin anew."""
        raise NotImplementedError

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        energy = self.energy.compute()
        self.energy.reset()
        metrics = {"loss": energy, "energy": energy, "storage_bits": self.model.storage_bits}
        metrics |= self._of_training | self.found()
        self.report({f"{split}/{name}": value for name, value in metrics.items()})
