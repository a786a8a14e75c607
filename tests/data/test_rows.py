import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest

from suexp.data.rows import open_rows, write_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Seven rows in batches of three, three and one."""
    tables = [
        {
            "x": np.arange(2 * start, 2 * stop, dtype=np.float32).reshape(-1, 2),
            "tokens": [np.arange(i, dtype=np.int32) for i in range(start, stop)],
            "label": np.arange(start, stop),
        }
        for start, stop in ((0, 3), (3, 6), (6, 7))
    ]
    assert write_rows(tmp_path / "rows.arrow", tables) == 7
    return tmp_path / "rows.arrow"


def as_lists(rows: list[dict[str, np.ndarray]]) -> list[dict[str, object]]:
    return [{name: value.tolist() for name, value in row.items()} for row in rows]


def test_reads_as_a_dataset_does(path: Path) -> None:
    rows = open_rows(path, "f")
    assert isinstance(rows, datasets.Dataset)
    keys = [6, 0, 4, 2, 3, -1]
    assert as_lists(rows.__getitems__(keys)) == [
        {"x": [2.0 * i, 2.0 * i + 1], "tokens": list(range(i)), "label": i}
        for i in (6, 0, 4, 2, 3, 6)
    ]
    plain = datasets.Dataset.from_file(str(path)).with_format("numpy")
    assert as_lists(rows.__getitems__(keys[:-1])) == as_lists(plain.__getitems__(keys[:-1]))
    first = rows.__getitems__([0])[0]
    assert first["x"].dtype == np.float32
    assert first["tokens"].dtype == np.int32
    with pytest.raises(IndexError):
        rows.__getitems__([7])


def test_batches_are_views_of_the_file(path: Path) -> None:
    rows = open_rows(path, "f")
    one, two = rows.__getitems__([1]), rows.__getitems__([1])
    assert np.shares_memory(one[0]["x"], two[0]["x"])
    assert not one[0]["x"].flags.writeable


def test_changed_copies_behave_as_datasets(path: Path) -> None:
    rows = open_rows(path, "f")
    rows.__getitems__([0])
    assert [row["label"] for row in rows.select([5, 1]).__getitems__([0, 1])] == [5, 1]
    assert list(rows.rename_column("label", "y").__getitems__([3])[0]) == ["x", "tokens", "y"]
    assert list(rows.remove_columns(["x", "tokens"]).__getitems__([3])[0]) == ["label"]
    assert rows.with_format(None).__getitems__([2])[0]["tokens"] == [0, 1]


def test_pickles_without_its_views(path: Path) -> None:
    rows = open_rows(path, "f")
    rows.__getitems__([0])
    again = pickle.loads(pickle.dumps(rows))
    assert as_lists(again.__getitems__([4])) == as_lists(rows.__getitems__([4]))


def test_fingerprint_is_ours(path: Path) -> None:
    assert open_rows(path, "f")._fingerprint == open_rows(path, "f")._fingerprint
    assert open_rows(path, "f")._fingerprint != open_rows(path, "g")._fingerprint
