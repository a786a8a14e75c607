import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suexp.data import packing
from suexp.data.packing import blocks

EOT = 9


def pack(documents: list[list[int]], block_size: int) -> np.ndarray:
    arrays = [np.array(doc, dtype=np.int32) for doc in documents]
    tables = list(blocks(arrays, block_size, EOT))
    return np.concatenate(tables) if tables else np.empty((0, block_size + 1), np.int32)


def test_known_answer() -> None:
    assert pack([[1, 2, 3], [4], [5, 6]], 3).tolist() == [[9, 1, 2, 3], [3, 9, 4, 9], [9, 5, 6, 9]]


def test_tail_is_left_out() -> None:
    assert pack([[1, 2, 3], [4], [5, 6, 7]], 3).tolist() == [
        [9, 1, 2, 3],
        [3, 9, 4, 9],
        [9, 5, 6, 7],
    ]
    assert pack([[1]], 3).shape == (0, 4)
    assert pack([], 3).shape == (0, 4)


@given(st.lists(st.lists(st.integers(0, 8))), st.integers(1, 12))
def test_each_token_is_predicted_once(documents: list[list[int]], block_size: int) -> None:
    stream = [EOT, *(token for doc in documents for token in [*doc, EOT])]
    rows = pack(documents, block_size)
    predicted = rows[:, 1:].reshape(-1).tolist()
    assert predicted == stream[1 : 1 + len(predicted)]
    assert 0 <= len(stream) - 1 - len(predicted) < block_size  # the tail
    read = rows[:, :-1].reshape(-1).tolist()
    assert read == stream[: len(read)]


def test_long_streams_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 9, n).tolist() for n in (5, 0, 400, 3, 150, 1, 77)]
    whole = pack(documents, 4)
    monkeypatch.setattr(packing, "ROWS", 10)
    arrays = [np.array(doc, dtype=np.int32) for doc in documents]
    tables = list(blocks(arrays, 4, EOT))
    assert [len(table) for table in tables[:-1]] == [10] * (len(tables) - 1)
    np.testing.assert_array_equal(np.concatenate(tables), whole)
