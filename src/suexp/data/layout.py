"""How documents become rows on disk, and rows a batch: one layout for each kind of task."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from suexp.data.answers import Answer
from suexp.data.document import Document
from suexp.errors import UserError

if TYPE_CHECKING:  # fingerprints are taken without NumPy
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from suexp.data.tokenizer import Tokenizer


class Kind(NamedTuple):
    """A kind of rows: what its records must have, what they may have, and what a label says."""

    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()
    answer: Answer = "class"


# What `data.kind` may say.
KINDS = {
    "lm": Kind(("text",)),
    "classification": Kind(("text", "label"), ("other",)),
    "multilabel": Kind(("text", "label"), ("other",), "set"),
    "regression": Kind(("text", "label"), ("other",), "number"),
    "seq2seq": Kind(("text", "other")),
    "pairs": Kind(("text", "other"), ("label",)),
    "similar": Kind(("text", "other"), ("label",)),
    "tagging": Kind((), ("text", "tokens", "tags")),
    "sentences": Kind(("text",)),
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
    from suexp.data.both_ways import BothWays
    from suexp.data.joining import Joined
    from suexp.data.labelling import Graded, Labelled, Several
    from suexp.data.packing import Packed
    from suexp.data.pairing import Paired
    from suexp.data.sentences import Sentences
    from suexp.data.tagging import Tagged

    layouts: dict[str, type[Layout]] = {
        "lm": Packed,
        "classification": Labelled,
        "multilabel": Several,
        "regression": Graded,
        "seq2seq": Joined,
        "pairs": Paired,
        "similar": BothWays,
        "tagging": Tagged,
        "sentences": Sentences,
    }
    return layouts[kind](block_size, truncate)


def framed(
    texts: Sequence[str],
    wheres: Sequence[str],
    tokenizer: "Tokenizer",
    block_size: int,
    truncate: bool,
) -> "list[NDArray[np.int32]]":
    """Return the tokens of single texts, 1 to block_size of each, with the tokenizer's frame.

    A text without a token becomes a lone end-of-text token: every row has something to attend to.

    Args:
        texts: the texts.
        wheres: where each of them stands, for messages.
        tokenizer: what makes tokens of them; its ``begin`` and ``end`` frame each text.
        block_size: the most tokens.
        truncate: cut texts that are longer; false: refuse them.

    Raises:
        UserError: a text that is too long.
    """
    import numpy as np

    room = block_size - len(tokenizer.begin) - len(tokenizer.end)
    lone = np.array([tokenizer.eot_id], dtype=np.int32)
    begin, end = (np.array(ids, dtype=np.int32) for ids in (tokenizer.begin, tokenizer.end))
    rows = []
    for where, ids in zip(wheres, tokenizer.encode_batch(texts), strict=True):
        if len(ids) > room and not truncate:
            raise UserError(
                f"{where}: a text of {len(ids)} tokens is longer than "
                f"data.block_size {block_size} allows; raise it, or set data.truncate=true"
            )
        rows.append(np.concatenate((begin, ids[:room] if len(ids) else lone, end)))
    return rows


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
