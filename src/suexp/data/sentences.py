"""Single texts as rows of one width, each closed by an end."""

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

ROWS = 2**12  # texts that are handed on at a time


class Sentences(Layout):
    """Rows ``b x e``: ``tokens`` (B, block_size) and ``keep`` (B, block_size).

    b is the tokenizer's begin, or the end-of-text token where it has none, and e the end-of-text
    token. All batches have one width: where a copy of the text stands behind it, its place must not
    tell how long the text is.
    """

    def prepare(self, folder: Path, documents: Splits, tokenizer: Tokenizer) -> dict[str, Any]:
        """Write the rows; count them and their tokens.

        Raises:
            UserError: a split without text, or a text that is too long.
        """
        from suexp.data.rows import write_rows

        splits = {}
        for split, begin in documents.items():
            table = tables(begin(), tokenizer, self.block_size, self.truncate)
            rows = write_rows(folder / f"{split}.arrow", table)
            if not rows:
                raise UserError(f"the {split} split has no text; give it some")
            splits[split] = {"documents": rows, "rows": rows}
        return {"splits": splits}

    def collate(self, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> "dict[str, Tensor]":
        """Return ``tokens``, int64, and ``keep``, True at real tokens."""
        import torch

        tokens, keep = padded([row["tokens"] for row in rows], tokenizer.pad_id)
        missing = ((0, 0), (0, self.block_size - tokens.shape[1]))
        tokens = np.pad(tokens, missing, constant_values=tokenizer.pad_id)
        return {
            "tokens": torch.from_numpy(tokens),
            "keep": torch.from_numpy(np.pad(keep, missing)),
        }


def tables(
    documents: Iterable[Document], tokenizer: Tokenizer, block_size: int, truncate: bool
) -> Iterator[dict[str, Any]]:
    """Yield the column ``tokens``: arrays of at most block_size tokens, those around it included.

    Texts without a token are left out.

    Raises:
        UserError: a block_size without room for a token, or a text that is too long.
    """
    begin = np.array(tokenizer.begin or (tokenizer.eot_id,), np.int32)
    end = np.array([tokenizer.eot_id], np.int32)
    room = block_size - len(begin) - 1
    if room < 1:
        raise UserError(f"data.block_size {block_size} leaves no room for a text; use at least 3")
    documents = iter(documents)
    while batch := list(islice(documents, ROWS)):
        tokens = []
        for doc, x in zip(batch, tokenizer.encode_batch([doc.text for doc in batch]), strict=True):
            if len(x) > room and not truncate:
                raise UserError(
                    f"{doc.where or doc.key}: a text of {len(x)} tokens is longer than "
                    f"data.block_size {block_size} allows; raise it, or set data.truncate=true"
                )
            if len(x):
                tokens.append(np.concatenate((begin, x[:room], end)))
        if tokens:
            yield {"tokens": tokens}
