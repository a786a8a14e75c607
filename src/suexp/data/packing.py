"""Documents laid end to end and cut into blocks of one size, with no padding."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

ROWS = 2**14  # blocks that are handed on at a time


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
