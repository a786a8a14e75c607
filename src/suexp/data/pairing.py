"""Pairs of texts as rows: two texts of at most so many tokens each, and whether they match."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suexp.data.document import UNKNOWN, Document
from suexp.data.layout import Layout, Splits, framed, padded
from suexp.data.tokenizer import Tokenizer
from suexp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2**12  # pairs that are handed on at a time
MATCHES = {0: False, 1: True, "0": False, "1": True, UNKNOWN: False}


class Paired(Layout):
    """Rows of ``tokens_a`` (B, n), ``keep_a`` (B, n), ``tokens_b`` (B, m), ``keep_b`` (B, m).

    The texts a are the documents' own, the texts b their others. Where the source has labels a row
    also holds ``match`` (B,), False where the pair's texts do not belong together, and ``labelled``
    (B,), False where it is not known, ``match`` being False there; without labels all of them do.
    """

    def prepare(self, folder: Path, documents: Splits, tokenizer: Tokenizer) -> dict[str, Any]:
        """Write the rows and count them.

        Raises:
            UserError: a split without a pair, a label that is neither 0 nor 1 or is missing in some
                rows only, a text that is too long.
        """
        from suexp.data.rows import write_rows

        splits = {}
        for split, begin in documents.items():
            table = tables(begin(), tokenizer, self.block_size, self.truncate)
            rows = write_rows(folder / f"{split}.arrow", table)
            if not rows:
                raise UserError(f"the {split} split has no pair of texts; give it some")
            splits[split] = {"documents": rows, "rows": rows}
        return {"splits": splits}

    def collate(self, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> "dict[str, Tensor]":
        """Return the tokens, int64, ``keep``, True at real tokens, and what labels say."""
        import torch

        batch = {}
        for side in ("a", "b"):
            tokens, keep = padded([row[f"tokens_{side}"] for row in rows], tokenizer.pad_id)
            batch[f"tokens_{side}"] = torch.from_numpy(tokens)
            batch[f"keep_{side}"] = torch.from_numpy(keep)
        for name in ("match", "labelled"):
            if name in rows[0]:
                batch[name] = torch.from_numpy(np.array([row[name] for row in rows], dtype=bool))
        return batch


def tables(
    documents: Iterable[Document], tokenizer: Tokenizer, block_size: int, truncate: bool
) -> Iterator[dict[str, Any]]:
    """Yield columns ``tokens_a``, ``tokens_b`` (arrays of 1 to block_size tokens) and of labels.

    Raises:
        UserError: a label that is neither 0 nor 1, or a text that is too long.
    """
    labelled: bool | None = None
    documents = iter(documents)
    while batch := list(islice(documents, ROWS)):
        wheres = [doc.where or doc.key for doc in batch]
        for where, doc in zip(wheres, batch, strict=True):
            labelled = doc.label is not None if labelled is None else labelled
            if (doc.label is not None) != labelled:
                raise UserError(f"{where}: some pairs have a label and some have none")
            if labelled and doc.label not in MATCHES:
                raise UserError(
                    f"{where}: label {doc.label!r} of a pair; write 1 where the texts match, else "
                    "0; use task=classification data.kind=classification for classes of pairs, "
                    "task=text_regression data.kind=regression for grades"
                )
        sides = {
            "tokens_a": [doc.text for doc in batch],
            "tokens_b": [doc.other or "" for doc in batch],
        }
        table: dict[str, Any] = {
            name: framed(texts, wheres, tokenizer, block_size, truncate)
            for name, texts in sides.items()
        }
        if labelled:  # as bytes: NumPy cannot look at Arrow's bits in place
            flags = [MATCHES[doc.label] for doc in batch]
            table["match"] = np.array(flags, dtype=np.uint8)
            table["labelled"] = np.array([doc.label != UNKNOWN for doc in batch], dtype=np.uint8)
        yield table
