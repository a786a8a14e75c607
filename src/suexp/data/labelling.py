"""Labelled texts as rows: one text of at most so many tokens, and the number of its class."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suexp.data.document import Document, refuse_single
from suexp.data.layout import Layout, Splits, framed, padded
from suexp.data.tokenizer import Tokenizer
from suexp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2**12  # texts that are handed on at a time


class Labelled(Layout):
    """Rows for classification: ``tokens`` (B, n), ``keep`` (B, n), ``label`` (B,)."""

    def prepare(self, folder: Path, documents: Splits, tokenizer: Tokenizer) -> dict[str, Any]:
        """Write the rows; count them, and sort the training split's labels.

        Raises:
            UserError: a split without text, an unknown label, a text that is too long.
        """
        from suexp.data.rows import write_rows

        names = vocabulary(documents["train"]())
        splits = {}
        for split, begin in documents.items():
            table = tables(begin(), tokenizer, names, self.block_size, self.truncate)
            rows = write_rows(folder / f"{split}.arrow", table)
            if not rows:
                raise UserError(f"the {split} split has no text; give it some")
            splits[split] = {"documents": rows, "rows": rows}
        return {"splits": splits, "labels": names}

    def collate(self, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> "dict[str, Tensor]":
        """Return ``tokens`` and ``label``, int64, and ``keep``, True at real tokens."""
        import torch

        tokens, keep = padded([row["tokens"] for row in rows], tokenizer.pad_id)
        return {
            "tokens": torch.from_numpy(tokens),
            "keep": torch.from_numpy(keep),
            "label": torch.from_numpy(np.array([row["label"] for row in rows])),
        }

    def sizes(self, facts: dict[str, Any]) -> dict[str, int]:
        """``num_classes``."""
        return {"num_classes": len(facts["labels"])}


def vocabulary(documents: Iterable[Document]) -> list[Any]:
    """Return the labels, sorted.

    Raises:
        UserError: no documents, a single label, or numbers among words.
    """
    labels = {doc.label for doc in documents}
    if not labels:
        raise UserError("the training split has no text; give it some")
    if len({type(label) for label in labels}) > 1:
        raise UserError("some labels are numbers and some are words; use one kind")
    refuse_single(labels)
    return sorted(labels)


def tables(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    names: list[Any],
    block_size: int,
    truncate: bool,
) -> Iterator[dict[str, Any]]:
    """Yield columns ``tokens`` (arrays of 1 to block_size tokens) and ``label`` (place in names).

    Raises:
        UserError: a label that the training split has not, or a text that is too long.
    """
    place = {str(name): i for i, name in enumerate(names)}  # a table has numbers as text
    documents = iter(documents)
    while batch := list(islice(documents, ROWS)):
        for doc in batch:
            if str(doc.label) not in place:
                raise UserError(
                    f"{doc.where or doc.key}: label {doc.label!r} does not occur in the training "
                    f"split ({len(names)} labels do); remove the row or add such training texts"
                )
        texts, wheres = [doc.text for doc in batch], [doc.where or doc.key for doc in batch]
        yield {
            "tokens": framed(texts, wheres, tokenizer, block_size, truncate),
            "label": np.array([place[str(doc.label)] for doc in batch], dtype=np.int64),
        }
