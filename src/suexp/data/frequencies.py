"""How often tokens occur in rows."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def token_columns(table: "pa.Table") -> list[str]:
    """Return the names of the columns that hold tokens: one text a row, or those of a pair."""
    return [name for name in table.column_names if name.split("_")[0] == "tokens"]


def counted(table: "pa.Table", vocab_size: int) -> NDArray[Any]:
    """Return how often each token occurs in a table's columns of tokens, (V,)."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for name in token_columns(table):
        for chunk in table[name].chunks:
            values = chunk.flatten().to_numpy(zero_copy_only=False)
            counts += np.bincount(values, minlength=vocab_size)
    return counts


def frequencies(data: Any) -> NDArray[Any]:
    """Return how often each token occurs in all splits of a data set of texts, (V,)."""
    found = np.zeros(data.tokenizer_.vocab_size, dtype=np.int64)
    for rows in data.splits().values():
        table = (rows if rows._indices is None else rows.flatten_indices()).data.table
        found += counted(table, len(found))
    return found


def ranked(counts: NDArray[Any], tokens: NDArray[Any]) -> NDArray[Any]:
    """Return tokens by falling frequency, equally frequent ones by their number.

    >>> ranked(np.array([3, 9, 3, 0]), np.array([0, 1, 2])).tolist()
    [1, 0, 2]
    """
    tokens = np.sort(tokens)
    return tokens[np.argsort(-counts[tokens], kind="stable")]
