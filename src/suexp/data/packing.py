"""Documents laid end to end and cut into blocks of one size, with no padding."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from suexp.data.document import Document
from suexp.data.layout import Layout, Splits
from suexp.data.tokenizer import Tokenizer
from suexp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2**14  # blocks that are handed on at a time
BATCH = 256  # documents that the tokenizer gets at a time


class Packed(Layout):
    """Rows for language models: ``tokens`` of a batch is (B, block_size + 1), see `blocks`."""

    def prepare(self, folder: Path, documents: Splits, tokenizer: Tokenizer) -> dict[str, Any]:
        """Write the blocks; count documents, rows, tokens and bytes, and how frequent tokens are.

        Raises:
            UserError: a split of less than one block.
        """
        from suexp.data.rows import write_rows

        lengths = np.array([len(token) for token in tokenizer.token_bytes])
        counts, splits = {}, {}
        for split, begin in documents.items():
            seen = counts[split] = np.zeros(tokenizer.vocab_size, dtype=np.int64)
            number = itertools.count()
            counted = (doc for doc in begin() if next(number) >= 0)

            def tables(
                docs: Iterator[Document] = counted, seen: NDArray[np.int64] = seen
            ) -> Iterator[dict[str, Any]]:
                for block in blocks(_encoded(docs, tokenizer), self.block_size, tokenizer.eot_id):
                    seen += np.bincount(block[:, 1:].reshape(-1), minlength=len(seen))
                    yield {"tokens": block}

            rows = write_rows(folder / f"{split}.arrow", tables())
            if not rows:
                raise UserError(
                    f"the {split} split has less than one block of {self.block_size} tokens; "
                    "give it more text, or lower data.block_size"
                )
            splits[split] = {
                "documents": next(number),
                "rows": rows,
                "tokens": int(seen.sum()),
                "bytes": int(seen @ lengths),
            }
        smooth = counts["train"] + 1
        held_out = counts["validation"]
        unigram = -float(held_out @ np.log(smooth / smooth.sum())) / int(held_out.sum())
        return {"splits": splits, "unigram": unigram}

    def collate(self, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> "dict[str, Tensor]":
        """Return ``tokens``, int64."""
        import torch

        del tokenizer
        tokens = np.stack([row["tokens"] for row in rows]).astype(np.int64)
        return {"tokens": torch.from_numpy(tokens)}


def _encoded(documents: Iterator[Document], tokenizer: Tokenizer) -> Iterator[NDArray[np.int32]]:
    while batch := list(itertools.islice(documents, BATCH)):
        yield from tokenizer.encode_batch([doc.text for doc in batch])


def blocks(
    documents: Iterable[NDArray[np.int32]], block_size: int, eot_id: int
) -> Iterator[NDArray[np.int32]]:
    r"""Yield tables (rows, block_size + 1) of consecutive blocks that overlap by one token.

    The stream is $e\,d_1\,e\,d_2\,e \ldots d_n\,e$ with the end-of-text token $e$; row $k$ holds
    its tokens $kB, \ldots, kB + B$. A model that reads a row's first $B$ tokens and predicts its
    last $B$ thus predicts each token of the stream once; only the tail that fills no block is left
    out.

    Args:
        documents: each document's tokens.
        block_size: B, the number of tokens that a row predicts.
        eot_id: the end-of-text token.
    """
    end = np.array([eot_id], dtype=np.int32)
    pieces, length = [end], 1
    for tokens in documents:
        pieces += [tokens, end]
        length += len(tokens) + 1
        if length > ROWS * block_size:
            stream = np.concatenate(pieces)
            while len(stream) > ROWS * block_size:
                yield _cut(stream, ROWS, block_size)
                stream = stream[ROWS * block_size :]
            pieces, length = [stream], len(stream)
    stream = np.concatenate(pieces)
    rows = (len(stream) - 1) // block_size
    if rows:
        yield _cut(stream, rows, block_size)


def _cut(stream: NDArray[np.int32], rows: int, block_size: int) -> NDArray[np.int32]:
    windows = np.lib.stride_tricks.sliding_window_view(stream, block_size + 1)
    return np.ascontiguousarray(windows[: rows * block_size : block_size])
