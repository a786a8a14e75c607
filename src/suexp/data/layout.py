"""How documents become rows on disk, and rows a batch: one layout for each kind of task."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from suexp.data.document import Document

if TYPE_CHECKING:  # fingerprints are taken without NumPy
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from suexp.data.tokenizer import Tokenizer


class Kind(NamedTuple):
    """A kind of rows: the module and class of its layout, and what a record must have."""

    module: str
    name: str
    columns: tuple[str, ...]


# What `data.kind` may say.
KINDS = {
    "lm": Kind("packing", "Packed", ("text",)),
    "classification": Kind("labelling", "Labelled", ("text", "label")),
}

# Split -> a function that begins its documents anew.
Splits = Mapping[str, Callable[[], Iterator[Document]]]


class Layout:
    """The contract of every layout.

    Args:
        block_size: tokens of a row, or the most of them.
        truncate: cut texts that are longer; false: refuse them.
    """

    def __init__(self, block_size: int, truncate: bool = True) -> None:
        self.block_size, self.truncate = block_size, truncate

    def prepare(self, folder: Path, documents: Splits, tokenizer: "Tokenizer") -> dict[str, Any]:
        """Write ``<split>.arrow`` for each split and return what was counted, as JSON.

        Raises:
            UserError: a split without a row, or a document that cannot become one.
        """
        raise NotImplementedError

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: "Tokenizer"
    ) -> "dict[str, Tensor]":
        """Return the batch of these rows."""
        raise NotImplementedError

    def sizes(self, facts: dict[str, Any]) -> dict[str, int]:
        """Return what a model must know beside the size of the vocabulary."""
        del facts
        return {}


def layout_of(kind: str, block_size: int, truncate: bool = True) -> Layout:
    """Return the layout of a kind of rows."""
    module = import_module(f"suexp.data.{KINDS[kind].module}")
    layout: Layout = getattr(module, KINDS[kind].name)(block_size, truncate)
    return layout


def padded(
    texts: "Sequence[NDArray[Any]]", fill: int
) -> "tuple[NDArray[np.int64], NDArray[np.bool_]]":
    """Return texts of different lengths as one table, and where it holds real tokens."""
    import numpy as np

    lengths = np.array([len(text) for text in texts])
    keep = np.arange(lengths.max()) < lengths[:, None]
    table = np.full(keep.shape, fill, dtype=np.int64)
    table[keep] = np.concatenate(texts)
    return table, keep
