"""The contract of every alteration. Nothing here imports torch or NumPy at module level."""

from typing import TYPE_CHECKING, ClassVar

from suexp.component import Component

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import pyarrow as pa

    from suexp.data.base import Data
    from suexp.data.tokenizer import Tokenizer


class Alter(Component):
    """A map over the rows of any data set's splits; the data set does not know of it.

    Several compose, in the order in which they are chosen. Arguments are plain numbers and words,
    for they are part of the fingerprint. Nothing is written to disk: columns that an alteration
    leaves alone stay views of the data's own files.

    What changes each split by itself defines `apply`; what must see all of them, `apply_all`.

    Attributes:
        seed: of the draws; those of a split depend on it and on the split's name alone.
        columns: what it adds to each row, and so to each batch, one number a row.
    """

    seed: int = 0
    columns: ClassVar[tuple[str, ...]] = ()

    def apply(
        self, split: str, table: "pa.Table", generator: "np.random.Generator", sizes: dict[str, int]
    ) -> "pa.Table":
        """Return the rows of a split, changed.

        Args:
            split: ``train``, ``validation`` or ``test``.
            table: its columns, which are not changed in place.
            generator: of this alteration's draws for this split.
            sizes: what the data say of themselves, ``num_classes`` say.

        Raises:
            UserError: the rows are not of a kind that it can change.
        """
        raise NotImplementedError

    def apply_all(
        self,
        tables: "Mapping[str, pa.Table]",
        generators: "Callable[[str], np.random.Generator]",
        data: "Data",
    ) -> "dict[str, pa.Table]":
        """Return the rows of all splits, changed; by default each by itself.

        Args:
            tables: the rows by split, which are not changed in place.
            generators: of this alteration's draws for something that has a name, a split say.
            data: the data set, before any alteration.

        Raises:
            UserError: the rows are not of a kind that it can change.
        """
        return {
            split: self.apply(split, table, generators(split), data.sizes)
            for split, table in tables.items()
        }

    def tokenizer(self, tokenizer: "Tokenizer") -> "Tokenizer":
        """Return what makes tokens of the altered data's texts; called after `apply_all`."""
        return tokenizer
