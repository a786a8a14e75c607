"""Texts with answers as rows: one text or two, and a class, a number, or several labels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from suexp.data.document import Document, refuse_single
from suexp.data.layout import Layout, Splits, framed, padded
from suexp.data.tokenizer import Tokenizer
from suexp.data.two_texts import two_texts
from suexp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2**12  # texts that are handed on at a time


class Labelled(Layout):
    """Rows for classification: ``tokens`` (B, n), ``keep`` (B, n), ``label`` (B,).

    Documents with a second text are rows of both (`suexp.data.two_texts`), and ``segments`` (B, n)
    is 1 at the second, else 0.
    """

    answer = "label"

    def prepare(self, folder: Path, documents: Splits, tokenizer: Tokenizer) -> dict[str, Any]:
        """Write the rows; count them, and sort the training split's labels.

        Raises:
            UserError: a split without text, an unknown label, a text that is too long.
        """
        from suexp.data.rows import write_rows

        names = self.names(documents["train"]())
        splits = {}
        for split, begin in documents.items():
            table = tables(
                begin(), tokenizer, self.answer, self.answers(names), self.block_size, self.truncate
            )
            rows = write_rows(folder / f"{split}.arrow", table)
            if not rows:
                raise UserError(f"the {split} split has no text; give it some")
            splits[split] = {"documents": rows, "rows": rows}
        return {"splits": splits, "labels": names}

    def names(self, documents: Iterable[Document]) -> list[Any]:
        """Return the labels of the training split, sorted."""
        return vocabulary(doc.label for doc in documents)

    def answers(self, names: list[Any]) -> Callable[[Sequence[Document]], NDArray[Any]]:
        """Return what makes a column of documents' labels: here each label's place in the names."""
        place = places(names)
        return lambda documents: np.array(
            [place(doc, doc.label) for doc in documents], dtype=np.int64
        )

    def collate(self, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> "dict[str, Tensor]":
        """Return ``tokens``, int64, ``keep``, True at real tokens, and the answers."""
        import torch

        tokens, keep = padded([row["tokens"] for row in rows], tokenizer.pad_id)
        batch = {"tokens": tokens, "keep": keep, self.answer: self.column(rows)}
        if "second" in rows[0]:
            second = np.array([row["second"] for row in rows])[:, None]
            batch["segments"] = (keep & (np.arange(tokens.shape[1]) >= second)).astype(np.int64)
        return {name: torch.from_numpy(value) for name, value in batch.items()}

    def column(self, rows: Sequence[dict[str, Any]]) -> NDArray[Any]:
        """Return the answers of rows."""
        return np.array([row[self.answer] for row in rows])

    def sizes(self, facts: dict[str, Any]) -> dict[str, int]:
        """``num_classes``."""
        return {"num_classes": len(facts["labels"])}


class Several(Labelled):
    """Rows of texts with several labels: ``labels`` (B, C) is True at those of a row."""

    answer = "labels"

    def names(self, documents: Iterable[Document]) -> list[Any]:
        """Return the labels of the training split, sorted."""
        return vocabulary(label for doc in documents for label in doc.label)  # type: ignore[union-attr]

    def answers(self, names: list[Any]) -> Callable[[Sequence[Document]], NDArray[Any]]:
        """Return what makes a table (documents, C) of 0 and 1."""
        place = places(names)

        def table(documents: Sequence[Document]) -> NDArray[Any]:
            marks = np.zeros((len(documents), len(names)), dtype=np.uint8)
            for row, doc in zip(marks, documents, strict=True):
                row[[place(doc, label) for label in doc.label]] = 1  # type: ignore[union-attr]
            return marks

        return table

    def column(self, rows: Sequence[dict[str, Any]]) -> NDArray[Any]:
        """Return the answers of rows."""
        return super().column(rows).astype(bool)


class Graded(Labelled):
    """Rows of texts with a number each, ``target`` (B,), float32."""

    answer = "target"

    def names(self, documents: Iterable[Document]) -> list[Any]:
        """Return no names: numbers have none. One number for all rows is refused."""
        refuse_single({doc.label for doc in documents})
        return []

    def answers(self, names: list[Any]) -> Callable[[Sequence[Document]], NDArray[Any]]:
        """Return what makes a column of documents' numbers."""
        del names
        return lambda documents: np.array([doc.label for doc in documents], dtype=np.float32)

    def sizes(self, facts: dict[str, Any]) -> dict[str, int]:
        """Nothing: a number is one output."""
        del facts
        return {}


def vocabulary(found: Iterable[Any]) -> list[Any]:
    """Return the labels, sorted.

    Raises:
        UserError: no documents, a single label, or numbers among words.
    """
    labels = set(found)
    if not labels:
        raise UserError("the training split has no text; give it some")
    if len({type(label) for label in labels}) > 1:
        raise UserError("some labels are numbers and some are words; use one kind")
    refuse_single(labels)
    return sorted(labels)


def places(names: list[Any]) -> Callable[[Document, Any], int]:
    """Return what tells a document's label's place among the names; a table has numbers as text.

    Raises:
        UserError: when called, with a label that the training split has not.
    """
    place = {str(name): i for i, name in enumerate(names)}

    def told(doc: Document, label: Any) -> int:
        if str(label) not in place:
            raise UserError(
                f"{doc.where or doc.key}: label {label!r} does not occur in the training "
                f"split ({len(names)} labels do); remove the row or add such training texts"
            )
        return place[str(label)]

    return told


def tables(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    answer: str,
    answers: Callable[[Sequence[Document]], NDArray[Any]],
    block_size: int,
    truncate: bool,
) -> Iterator[dict[str, Any]]:
    """Yield columns ``tokens`` (arrays of 1 to block_size tokens), the answers, and ``second``.

    ``second`` is where the second text begins, if there is one.

    Raises:
        UserError: a text that is too long, or a second one in some rows only.
    """
    pairs: bool | None = None
    documents = iter(documents)
    while batch := list(islice(documents, ROWS)):
        column = answers(batch)
        pairs = any(doc.other is not None for doc in batch) if pairs is None else pairs
        if pairs:
            tokens, second = two_texts(batch, tokenizer, block_size, truncate)
            yield {"tokens": tokens, answer: column, "second": second}
        else:
            texts, wheres = [doc.text for doc in batch], [doc.where or doc.key for doc in batch]
            found = framed(texts, wheres, tokenizer, block_size, truncate)
            yield {"tokens": found, answer: column}
