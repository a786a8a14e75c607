"""What is evaluated alike on the validation split and on the test split."""

from torch import Tensor

from suexp.task.base import Task


class Evaluated(Task):
    """A task that adds up what each batch tells, and reports at the end of a split."""

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add what a batch tells to the figures."""
        raise NotImplementedError

    def finish_split(self, split: str) -> None:
        """Log a split's figures, and begin anew.

        Args:
            split: ``val`` or ``test``, as their names begin.
        """
        raise NotImplementedError

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch."""
        del batch_idx
        self.evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the validation split's figures."""
        self.finish_split("val")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch."""
        del batch_idx
        self.evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log the test split's figures."""
        self.finish_split("test")
