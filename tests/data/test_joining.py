import json
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.data.document import Document
from suexp.data.files import Files
from suexp.data.joining import Joined, Longest, tables
from suexp.data.tokenizer import ByteTokenizer
from suexp.errors import UserError

BYTES = ByteTokenizer()
E, PAD = BYTES.eot_id, BYTES.pad_id


def rows(*pairs: tuple[str, str], block_size: int = 20, **settings: Any) -> list[dict[str, Any]]:
    documents = [Document(x, x, where=f"f:{i}", other=y) for i, (x, y) in enumerate(pairs, 1)]
    counts = {"source": 0, "target": 0}
    tokenizer = settings.get("tokenizer", BYTES)
    longest = Longest(tokenizer, block_size, settings.get("truncate", True))
    (table,) = tables(documents, tokenizer, longest, counts)
    longest.refuse()
    columns = zip(table["tokens"], table["prefix_length"].tolist(), strict=True)
    return [{"tokens": tokens, "prefix_length": prefix} for tokens, prefix in columns]


def test_source_and_target_are_closed() -> None:
    (row,) = rows(("abc", "de"))
    assert row["tokens"].tolist() == [97, 98, 99, E, 100, 101, E]
    assert row["prefix_length"] == 4


def test_a_batch() -> None:
    batch = Joined(20).collate(rows(("abc", "de"), ("a", "bcd"), ("", "x")), BYTES)
    assert batch["tokens"].tolist()[1] == [97, E, 98, 99, 100, E, PAD]
    assert batch["keep"].sum(1).tolist() == [7, 6, 3]
    assert batch["segments"].tolist() == [
        [0, 0, 0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1, 1, 0],
        [0, 1, 1, 0, 0, 0, 0],
    ]
    assert batch["prefix_length"].tolist() == [4, 2, 1]
    assert {value.dtype for value in batch.values()} == {torch.int64, torch.bool}


def test_the_source_gives_way() -> None:
    short, whole = rows(("abcdefgh", "xyz"), ("abc", "xyzuv"), block_size=7)
    assert short["tokens"].tolist() == [97, 98, E, 120, 121, 122, E]
    assert whole["tokens"].tolist() == [E, 120, 121, 122, 117, 118, E]


def test_the_tokenizers_begin_stands_first() -> None:
    framed = ByteTokenizer()
    framed.begin = (5,)
    (row,) = rows(("abcd", "x"), block_size=6, tokenizer=framed)
    assert row["tokens"].tolist() == [5, 97, 98, E, 120, E]
    assert row["prefix_length"] == 4


@pytest.mark.parametrize(
    ("pair", "settings", "line"),
    [
        (("abc", ""), {}, "f:2: the target is empty; give it a text, or leave the row out"),
        (("", "x" * 19), {}, "f:2: a target of 19 tokens does not fit in a row of data.block_size"),
        (("x" * 18, "y"), {"truncate": False}, "f:2: source and target of 18 [+] 1 tokens are"),
    ],
)
def test_mistakes_name_the_line(pair: tuple[str, str], settings: Any, line: str) -> None:
    with pytest.raises(UserError, match=line):
        rows(("a", "b"), pair, **settings)


def test_the_longest_row_of_all_splits_is_told() -> None:
    with pytest.raises(UserError) as caught:
        rows(("a", "x" * 19), ("a", "x" * 25), ("a", "x" * 21))
    assert str(caught.value) == (
        "f:2: a target of 25 tokens does not fit in a row of data.block_size 20, the longest of 3 "
        "such rows; set data.block_size=27"
    )
    assert len(rows(("a", "x" * 25), block_size=27)) == 1
    with pytest.raises(UserError, match=r"block_size=27, or data.truncate=true, which cuts sou"):
        rows(("x" * 20, "y" * 5), truncate=False)
    assert len(rows(("x" * 20, "y" * 5), block_size=27, truncate=False)) == 1


def files(name: str, records: list[dict[str, Any]], **settings: Any) -> Files:
    Path(name).write_text("\n".join(map(json.dumps, records)))
    arguments = {"train": name, "validation": name, "kind": "seq2seq", "tokenizer": "bytes"}
    return Files(**(arguments | settings))


def test_local_files(in_tmp: Path) -> None:
    records = [{"abst": "one two", "keyword": ["one", "two"]}, {"abst": "three", "keyword": "four"}]
    data = files("t.json", records, columns={"text": "abst", "other": "keyword"}, block_size=30)
    batch = data.collate(list(data.splits()["train"].with_format("numpy")))
    texts = [
        (BYTES.decode(row[:n].tolist()), BYTES.decode(row[n:].tolist()))
        for row, n in zip(batch["tokens"], batch["prefix_length"], strict=True)
    ]
    assert texts == [("one two", "one; two"), ("three", "four")]
    assert data.facts["splits"]["train"]["tokens"] == {"source": 12, "target": 12}


def test_local_files_with_mistakes(in_tmp: Path) -> None:
    data = files("t.json", [{"text": "a", "other": "b"}, {"text": "a", "other": ""}])
    with pytest.raises(UserError, match=r"t\.json:2: the target is empty"):
        data.splits()
    data = files("u.json", [{"text": "a", "other": ["b", 3]}])
    with pytest.raises(UserError, match=r"u\.json:1: column 'other' holds list, not text"):
        data.splits()
    data = files("v.json", [{"text": "a"}])
    with pytest.raises(UserError, match=r"v\.json:1: no column 'other' among text"):
        data.splits()
