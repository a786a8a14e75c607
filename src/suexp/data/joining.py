"""A source and its target joined in one row: sequence to sequence for a single network."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suexp.data.document import Document
from suexp.data.layout import Layout, Splits, padded
from suexp.data.tokenizer import Tokenizer
from suexp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2**12  # pairs that are handed on at a time


class Joined(Layout):
    """Rows ``b x e y e`` of a source x and a target y, with the tokenizer's begin b, if any.

    The end-of-text token e closes both parts. In a batch ``tokens`` (B, n) are padded on the right;
    ``keep`` (B, n) is True at real tokens; ``segments`` (B, n) is 1 at the target and the token
    that closes it, else 0; ``prefix_length`` (B,) counts the source, the token that closes it
    included.
    """

    def prepare(self, folder: Path, documents: Splits, tokenizer: Tokenizer) -> dict[str, Any]:
        """Write the rows; count them and their tokens.

        Raises:
            UserError: a split without a pair, an empty target, one that does not fit in a row, or a
                pair that is too long.
        """
        from suexp.data.rows import write_rows

        splits, longest = {}, Longest(tokenizer, self.block_size, self.truncate)
        for split, begin in documents.items():
            counts = {"source": 0, "target": 0}
            table = tables(begin(), tokenizer, longest, counts)
            rows = write_rows(folder / f"{split}.arrow", table)
            if not rows:
                raise UserError(f"the {split} split has no pair of texts; give it some")
            splits[split] = {"documents": rows, "rows": rows, "tokens": counts}
        longest.refuse()
        return {"splits": splits}

    def collate(self, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> "dict[str, Tensor]":
        """Return the batch (see the class)."""
        import torch

        tokens, keep = padded([row["tokens"] for row in rows], tokenizer.pad_id)
        prefix = np.array([row["prefix_length"] for row in rows], dtype=np.int64)
        segments = keep & (np.arange(tokens.shape[1]) >= prefix[:, None])
        return {
            "tokens": torch.from_numpy(tokens),
            "keep": torch.from_numpy(keep),
            "segments": torch.from_numpy(segments.astype(np.int64)),
            "prefix_length": torch.from_numpy(prefix),
        }


class Longest:
    """The longest pair that does not fit, of all splits: told once, not one after the other.

    Args:
        tokenizer: makes the tokens.
        block_size: the most tokens of a row, with those around the texts.
        truncate: cut sources; false: a pair that is too long does not fit.
    """

    def __init__(self, tokenizer: Tokenizer, block_size: int, truncate: bool) -> None:
        self.frame = len(tokenizer.begin) + 2
        self.block_size, self.truncate = block_size, truncate
        self.count, self.needed, self.said = 0, 0, ""

    @property
    def room(self) -> int:
        """The most tokens of source and target together."""
        return self.block_size - self.frame

    def add(self, where: str, x: int, y: int) -> None:
        """Look at a pair of x and y tokens."""
        needed = y if self.truncate else x + y
        if needed > self.room:
            self.count += 1
            if needed > self.needed:
                self.needed, self.said = needed, f"{where}: source and target of {x} + {y} tokens"
                self.said += f" are longer than data.block_size {self.block_size} allows"
                if self.truncate:
                    self.said = f"{where}: a target of {y} tokens does not fit in a row of "
                    self.said += f"data.block_size {self.block_size}"

    def refuse(self) -> None:
        """Refuse the pairs that do not fit.

        Raises:
            UserError: there are some.
        """
        if self.count:
            others = f", the longest of {self.count} such rows" if self.count > 1 else ""
            ways = f"set data.block_size={self.needed + self.frame}"
            cut = "" if self.truncate else ", or data.truncate=true, which cuts sources"
            raise UserError(f"{self.said}{others}; {ways}{cut}")


def tables(
    documents: Iterable[Document], tokenizer: Tokenizer, longest: Longest, counts: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield columns ``tokens`` (arrays of at most block_size tokens) and ``prefix_length``.

    Where a pair is too long the source gives way; it may end up empty, the target never.

    Args:
        documents: text is the source, other the target.
        tokenizer: makes the tokens.
        longest: is shown all pairs.
        counts: where tokens of sources and targets are counted, without those around them.

    Raises:
        UserError: an empty target.
    """
    begin, end = np.array(tokenizer.begin, np.int32), np.array([tokenizer.eot_id], np.int32)
    room = longest.room
    documents = iter(documents)
    while batch := list(islice(documents, ROWS)):
        sources = tokenizer.encode_batch([doc.text for doc in batch])
        targets = tokenizer.encode_batch([doc.other or "" for doc in batch])
        tokens, prefix = [], []
        for doc, x, y in zip(batch, sources, targets, strict=True):
            where = doc.where or doc.key
            if not len(y):
                raise UserError(
                    f"{where}: the target is empty; give it a text, or leave the row out"
                )
            longest.add(where, len(x), len(y))
            x = x[: max(room - len(y), 0)]
            tokens.append(np.concatenate((begin, x, end, y, end)))
            prefix.append(len(begin) + len(x) + 1)
            counts["source"] += len(x)
            counts["target"] += len(y)
        yield {"tokens": tokens, "prefix_length": np.array(prefix, dtype=np.int64)}
