"""Tagged texts as rows: one text of at most so many tokens, and a label for each of them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from suexp.data.document import Document, refuse_single
from suexp.data.layout import Layout, Splits, padded
from suexp.data.tagged_lines import TAG
from suexp.data.tokenizer import Tokenizer
from suexp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2**12  # texts that are handed on at a time
IGNORE = -100  # label of padding, and of a tokenizer's own tokens


class Tagged(Layout):
    """Rows for tagging: ``tokens`` (B, n), ``keep`` (B, n), ``tags`` (B, n), -100 at padding.

    A document has units and a tag for each, or is a text of words with blanks between them: then
    the units are its characters, and the tags S (a word of one character), B, I and E (begin,
    inside and end of a longer word).

    A unit becomes one token, of several word pieces the first. What a tokenizer puts before and
    after a text has no tag: ``tags`` is -100 there too.
    """

    def prepare(self, folder: Path, documents: Splits, tokenizer: Tokenizer) -> dict[str, Any]:
        """Write the rows; count them, and sort the training split's tags.

        Raises:
            UserError: a split without text, a tag that is none or that the training split has not,
                a text that is too long.
        """
        from suexp.data.rows import write_rows

        names = sorted({tag for doc in documents["train"]() for tag in units_of(doc)[1]})
        splits = {}
        for split, begin in documents.items():
            table = tables(begin(), tokenizer, names, self.block_size, self.truncate)
            rows = write_rows(folder / f"{split}.arrow", table)
            if not rows:
                raise UserError(f"the {split} split has no text; give it some")
            splits[split] = {"documents": rows, "rows": rows}
        refuse_single(names)
        return {"splits": splits, "labels": names}

    def collate(self, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> "dict[str, Tensor]":
        """Return ``tokens`` and ``tags``, int64, and ``keep``, True at real tokens."""
        import torch

        tokens, keep = padded([row["tokens"] for row in rows], tokenizer.pad_id)
        tags, _ = padded([row["tags"] for row in rows], IGNORE)
        return {
            "tokens": torch.from_numpy(tokens),
            "keep": torch.from_numpy(keep),
            "tags": torch.from_numpy(tags),
        }

    def sizes(self, facts: dict[str, Any]) -> dict[str, int]:
        """``num_labels``."""
        return {"num_labels": len(facts["labels"])}


def units_of(doc: Document) -> tuple[Sequence[str], Sequence[str]]:
    """Return a document's units and their tags.

    Raises:
        UserError: no units, another number of tags, or a tag that is none.
    """
    if doc.tags is None:
        words = doc.text.split()
        return "".join(words), [tag for word in words for tag in word_tags(len(word))]
    where, units = doc.where or doc.key, doc.units or ()
    if not units:
        raise UserError(f"{where}: no token; remove the row")
    if len(units) != len(doc.tags):
        raise UserError(f"{where}: {len(units)} tokens but {len(doc.tags)} tags")
    for place, tag in enumerate(doc.tags, 1):
        if not TAG.fullmatch(tag):
            raise UserError(
                f"{where}: tag {place} is {tag!r}; a tag is S, B, I, E or O, "
                "a type may follow the first four: B-PER"
            )
    return units, doc.tags


def word_tags(length: int) -> list[str]:
    """Return the tags of a word's characters."""
    return ["S"] if length == 1 else ["B", *["I"] * (length - 2), "E"]


def tables(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    names: list[str],
    block_size: int,
    truncate: bool,
) -> Iterator[dict[str, Any]]:
    """Yield columns ``tokens`` and ``tags`` (place in names), arrays of at most block_size.

    Raises:
        UserError: a tag that the training split has not, or a text that is too long.
    """
    place = {name: i for i, name in enumerate(names)}
    ids = _Ids(tokenizer)
    room = block_size - len(tokenizer.begin) - len(tokenizer.end)
    if room < 1:
        raise UserError(f"data.block_size {block_size} has no room for a token; raise it")
    documents = iter(documents)
    while batch := list(islice(documents, ROWS)):
        tokens, tags = [], []
        for doc in batch:
            where = doc.where or doc.key
            units, marks = units_of(doc)
            if strange := [tag for tag in marks if tag not in place]:
                raise UserError(
                    f"{where}: tag {strange[0]!r} does not occur in the training split "
                    f"({', '.join(names[:12])}{', ...' if len(names) > 12 else ''} do); correct "
                    "it, or add training texts that have it"
                )
            if len(units) > room and not truncate:
                raise UserError(
                    f"{where}: a text of {len(units)} tokens is longer than "
                    f"data.block_size {block_size} allows; raise it, or set data.truncate=true"
                )
            tokens.append(ids.row(units[:room], where))
            row = [place[tag] for tag in marks[:room]]
            frame = [IGNORE] * len(tokenizer.begin), [IGNORE] * len(tokenizer.end)
            tags.append(np.array([*frame[0], *row, *frame[1]], dtype=np.int32))
        yield {"tokens": tokens, "tags": tags}


class _Ids:
    """Units -> tokens, each unit looked up once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.known = tokenizer, dict[str, int]()

    def row(self, units: Sequence[str], where: str) -> NDArray[np.int32]:
        known, tokenizer = self.known, self.tokenizer
        new = [unit for unit in dict.fromkeys(units) if unit not in known]
        for unit, pieces in zip(new, tokenizer.encode_batch(new) if new else [], strict=True):
            if len(pieces) > 1 and not tokenizer.begin:  # only BERT's first pieces stand for words
                kind = "chars" if len(unit) == 1 else "words"
                raise UserError(
                    f"{where}: {unit!r} is {len(pieces)} tokens, but has one tag; use "
                    f"data.tokenizer={kind}, or data.tokenizer=wordpiece with data.vocab=FOLDER"
                )
            known[unit] = int(pieces[0]) if len(pieces) else tokenizer.mask_id
        ids = [known[unit] for unit in units]
        return np.array([*tokenizer.begin, *ids, *tokenizer.end], dtype=np.int32)
