"""A data set of nothing but its length, for tasks that draw their own samples."""

from typing import Any, ClassVar

from suexp.data.base import Data
from suexp.errors import at_least


class Counter(Data):
    r"""Rows $0, 1, \ldots, N - 1$: an estimation reads them to know how many samples to draw.

    A batch holds ``index`` of shape (batch_size,). There is only a ``test`` split.

    Reference: Metropolis and Ulam, The Monte Carlo Method, https://doi.org/10.2307/2280232.

    Args:
        num_samples: N, how many samples are drawn in all.
        batch_size: how many at a time.

    Raises:
        ValueError: a number below 1.
    """

    provides: ClassVar[set[str]] = {"counter"}

    def __init__(self, num_samples: int = 100_000, batch_size: int = 10_000) -> None:
        at_least(1, "data", num_samples=num_samples, batch_size=batch_size)
        self.num_samples = num_samples
        self.batch_size = self.eval_batch_size = batch_size

    def splits(self) -> dict[str, Any]:
        """Return the one split, ``test``, made in memory."""
        import numpy as np
        from datasets.table import InMemoryTable

        from suexp.data.rows import Rows

        table = InMemoryTable.from_pydict({"index": np.arange(self.num_samples)})
        rows = Rows(table, fingerprint=self.fingerprint())
        return {"test": rows.with_format("numpy")}

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch's indices."""
        import numpy as np
        import torch

        return {"index": torch.from_numpy(np.array([row["index"] for row in rows]))}

    @property
    def sizes(self) -> dict[str, int]:
        """Nothing that a model would need."""
        return {}

    def depends_on(self) -> Any:
        """Return the number of rows: there is nothing else to them."""
        return self.num_samples
