"""The contract of every alteration. Nothing here imports torch or NumPy at module level."""

from typing import TYPE_CHECKING, ClassVar

from suexp.component import Component

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Alter(Component):
    """A map over the rows of any data set's splits; the data set does not know of it.

    Several compose, in the order in which they are chosen. Arguments are plain numbers and words,
    for they are part of the fingerprint. Nothing is written to disk: columns that an alteration
    leaves alone stay views of the data's own files.

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
