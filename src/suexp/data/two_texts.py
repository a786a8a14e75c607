"""Two texts in one row, for a model that reads both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suexp.data.document import Document
from suexp.data.tokenizer import Tokenizer
from suexp.errors import UserError


def two_texts(
    documents: Sequence[Document], tokenizer: Tokenizer, block_size: int, truncate: bool
) -> tuple[list[NDArray[np.int32]], NDArray[np.int64]]:
    """Return rows ``b x e y e``, as BERT's ``[CLS] x [SEP] y [SEP]``, and where y begins in each.

    b is the tokenizer's begin, if any, e its end-of-text token. Of a pair that is too long the
    longer text gives way, of equal ones the second.

    Args:
        documents: text is x, other y.
        tokenizer: what makes tokens of them.
        block_size: the most tokens of a row.
        truncate: cut pairs that are longer; false: refuse them.

    Raises:
        UserError: a row without its second text, or a pair that is too long.
    """
    begin, end = np.array(tokenizer.begin, np.int32), np.array([tokenizer.eot_id], np.int32)
    room = block_size - len(begin) - 2
    if room < 2:
        raise UserError(f"data.block_size {block_size} leaves no room for two texts; raise it")
    sides: Any = [doc.text for doc in documents], [doc.other for doc in documents]
    for doc, other in zip(documents, sides[1], strict=True):
        if other is None:
            raise UserError(f"{doc.where or doc.key}: no second text, but other rows have one")
    rows, places = [], []
    pairs = zip(documents, *map(tokenizer.encode_batch, sides), strict=True)
    for doc, x, y in pairs:
        if len(x) + len(y) > room and not truncate:
            raise UserError(
                f"{doc.where or doc.key}: texts of {len(x)} + {len(y)} tokens are longer than "
                f"data.block_size {block_size} allows; raise it, or set data.truncate=true"
            )
        left = max(room - len(y), min(len(x), (room + 1) // 2))
        x, y = x[:left], y[: room - min(len(x), left)]
        rows.append(np.concatenate((begin, x, end, y, end)))
        places.append(len(begin) + len(x) + 1)
    return rows, np.array(places, dtype=np.int64)
