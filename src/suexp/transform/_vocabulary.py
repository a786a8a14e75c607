"""What transforms that change the vocabulary have in common."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

TABLES = ("embedding.weight", "output.weight", "head.bias")  # a row a token
FRESH = -1  # a token that gets no row of the parent's


def special_rows(ours: Any, theirs: Any) -> NDArray[Any]:
    """Return the parent's token that means the same as each special one of ours, (V,); or FRESH.

    Reserved ones get their parent's where it has as many, else its unknown token, or its mask.

    Args:
        ours: the child's tokenizer.
        theirs: the parent's.
    """
    rows = np.full(ours.vocab_size, FRESH)
    for name in ("pad_id", "eot_id", "mask_id", "unknown_id"):
        here, there = getattr(ours, name), getattr(theirs, name)
        if here is not None and there is not None:
            rows[here] = there
    unknown = theirs.mask_id if theirs.unknown_id is None else theirs.unknown_id
    for name in ("begin", "end", "reserved"):
        here, there = getattr(ours, name), getattr(theirs, name)
        fits = len(there) >= len(here)
        rows[list(here)] = there[: len(here)] if fits else unknown
    return rows
