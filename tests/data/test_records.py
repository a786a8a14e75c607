"""Files that are no text, hold too much of it, or say something twice."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suexp.data import bounds
from suexp.data.files import Files
from suexp.data.table import Table
from tests.support.refusal import MiB, said


def read(name: str, kind: Any = "lm", **settings: Any) -> list[Any]:
    return list(Files(test=name, kind=kind, **settings).documents("test"))


def refused(name: str, content: bytes | str, kind: Any = "lm", **settings: Any) -> str:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return said(lambda: read(name, kind, **settings))


def test_other_encodings_are_named(in_tmp: Path) -> None:
    assert refused("a.csv", "text,label\na,b\n".encode("utf-16")) == (
        "a.csv: UTF-16, not UTF-8; convert it, perhaps with "
        "iconv -f UTF-16 -t UTF-8 < a.csv > a.utf8.csv"
    )
    line = refused("b c.txt", "ok\ncaf\xe9\n".encode("latin-1"))
    assert line.startswith("b c.txt: not UTF-8 at byte 6 (line 2); convert it, perhaps with iconv ")
    assert line.endswith("-f LATIN1 -t UTF-8 < 'b c.txt' > 'b c.utf8.txt'")
    assert "iconv -f GB18030 -t UTF-8 < c.txt" in refused("c.txt", "科学空间\n".encode("gbk"))
    assert refused("d.txt", "abc\n".encode("utf-16-le")).startswith("d.txt:1: holds a NUL byte")
    assert refused("e.csv", b"text\na\nb\0c\n").startswith("e.csv:3: holds a NUL byte")


def test_windows_lines_and_marks(in_tmp: Path) -> None:
    Path("a.csv").write_bytes(b"\xef\xbb\xbftext,label\r\none,x\r\ntwo,y\r\n")
    found = [(doc.text, doc.label) for doc in read("a.csv", "classification")]
    assert found == [("one", "x"), ("two", "y")]
    Path("a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo\r\n")
    assert [doc.text for doc in read("a.txt")] == ["one", "two"]
    assert refused("b.txt", "") == "b.txt is empty"
    for content in ("\n", "\ufeff", " \n\t\n"):
        assert refused("b.txt", content) == "b.txt holds no text"
    assert refused("b.csv", "text,label\r\n") == "b.csv holds no row"
    assert refused("c.csv", "text,label\rone,x\r") == (
        r"c.csv: lines that end with CR alone; convert it, perhaps with "
        r"tr '\r' '\n' < c.csv > c.utf8.csv"
    )


@pytest.mark.parametrize(
    ("packed", "line"),
    [
        (
            gzip.compress(b"text\na\n"),
            "t.csv is gzip, no text; unpack it with gunzip < t.csv > t.unpacked.csv",
        ),
        (
            bz2.compress(b"text\na\n"),
            "t.csv is bzip2, no text; unpack it with bunzip2 < t.csv > t.unpacked.csv",
        ),
        (
            lzma.compress(b"text\na\n"),
            "t.csv is xz, no text; unpack it with unxz < t.csv > t.unpacked.csv",
        ),
        (b"PK\3\4rest", "t.csv is a zip archive, no text; unpack it with unzip t.csv"),
        (b"PAR1rest", "t.csv is Parquet, no text; set data.format=parquet"),
    ],
    ids=["gzip", "bzip2", "xz", "zip", "parquet"],
)
def test_what_is_packed_is_said_so(in_tmp: Path, packed: bytes, line: str) -> None:
    assert refused("t.csv", packed) == line


def test_a_line_is_not_held_whole(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("hole.txt").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    monkeypatch.setattr(bounds, "LINE", MiB)
    assert said(lambda: read("hole.txt")).startswith("hole.txt:1: holds a NUL byte")
    assert refused("a.txt", "a" * 2 * MiB) == "a.txt:1: a line of over 1 MiB; cut it up"
    lines = b"b\n" + (b"a" * 2**10 + b"\n") * 2**11
    assert refused("b.txt", lines) == "b.txt:1: a paragraph of over 1 MiB; cut it up"
    assert "a file of over 1 MiB" in refused("c.txt", lines, document="file")
    assert len(read("b.txt", document="line")) == 2**11 + 1
    quoted = b'text\n"' + (b"a" * 2**10 + b"\n") * 2**11 + b'"\n'
    assert "field larger than field limit (1048576)" in refused("d.csv", quoted)


def test_json_that_is_deep_or_says_things_twice(in_tmp: Path) -> None:
    assert "not a JSON object to read: maximum recursion" in refused("a.jsonl", "[" * 100_000)
    digits = refused("b.jsonl", '{"text": "a", "label": ' + "1" * 5000 + "}")
    assert digits.startswith("b.jsonl:1: not a JSON object to read: Exceeds the limit (4300")
    twice = '{"text": "a"}\n{"text": "b", "x": {}, "text": "c"}\n'
    assert refused("c.jsonl", twice) == (
        "c.jsonl:2: two values have the name 'text'; rename one of them"
    )


def test_a_column_twice(in_tmp: Path) -> None:
    line = "two columns have the name 'text'; rename one of them"
    assert refused("a.csv", "text,label,text\na,0,b\n", "classification") == f"a.csv:1: {line}"
    assert refused("a.tsv", "text\tlabel\ttext\na\t0\tb\n") == f"a.tsv:1: {line}"
    assert said(lambda: Table("a.csv").tables()) == f"a.csv:1: {line}"
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, "a.parquet")
    assert said(lambda: read("a.parquet")) == f"a.parquet: {line}"
    assert said(lambda: Table("a.parquet").tables()) == f"a.parquet: {line}"


@pytest.mark.slow
def test_a_million_columns(in_tmp: Path) -> None:
    names = ",".join(f"c{i}" for i in range(100_000))
    Path("a.csv").write_text(f"{names}\n{','.join('1' * 100_000)}\n")
    line = said(lambda: read("a.csv", columns={"text": "c_1"}), 64 * MiB)
    assert line.startswith("a.csv:2: no column 'c_1' among c0, c1, c2, ")
    assert "c11, ...; did you mean data.columns.text=c1?" in line
    assert "c11, ...; name what there is" in said(lambda: Table("a.csv").tables(), 64 * MiB)
    rows = "".join(f"{','.join([str(i)] * 20_000)},{i % 2}\n" for i in range(4))
    Path("b.csv").write_text(f"{','.join(f'c{i}' for i in range(20_000))},label\n{rows}")
    data = Table("b.csv", validation="b.csv")
    assert data.sizes == {"input_dim": 20_000, "num_classes": 2}
    x = data.splits()["train"].__getitems__([0, 3])
    assert [row["x"][-1] for row in x] == pytest.approx([-1.5 / 1.25**0.5, 1.5 / 1.25**0.5])
    wide = Table("b.csv", validation="b.csv", whiten="total")
    assert said(lambda: wide.splits(), 64 * MiB) == (
        "data.whiten=total of 20000 columns needs a matrix of 2.98 GiB; use data.whiten=standard"
    )


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_labels_that_are_empty_or_all_the_same(in_tmp: Path, name: str) -> None:
    def written(labels: list[str]) -> None:
        rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
        lines = [json.dumps(row) for row in rows]
        if name == "t.csv":
            lines = ["text,label", *(f"{row['text']},{row['label']}" for row in rows)]
        Path(name).write_text("\n".join(lines))

    settings: dict[str, Any] = {"validation": name, "kind": "classification"}
    data = Files(name, tokenizer="bytes", **settings)
    place = f"{name}:{3 + (name == 't.csv')}"
    for empty in ("", "  "):
        written(["a", "b", empty])
        expected = f"{place}: column 'label' is empty; fill it or remove the row"
        assert said(lambda: data.splits()) == expected
    written(["a", "a", "a"])
    assert said(lambda: Files(name, tokenizer="bytes", **settings).splits()) == (
        "all training rows have the label 'a'; there is nothing to tell apart without rows of a "
        "second one"
    )


def test_parquet_that_unpacks_to_more_than_it_can_hold(in_tmp: Path, small: None) -> None:
    long = pa.table({"text": ["a" * 8 * MiB]})
    pq.write_table(long, "long.parquet", compression="zstd", use_dictionary=False)
    del long
    assert "bytes unpack to over 1.13 MiB" in said(lambda: read("long.parquet"))
    same = pa.DictionaryArray.from_arrays(np.zeros(4000, "i4"), pa.array(["a" * (MiB // 10)]))
    pq.write_table(pa.table({"text": same}), "same.parquet", compression="zstd")
    assert Path("same.parquet").stat().st_size < MiB
    assert "same.parquet: its" in said(lambda: read("same.parquet"))
    lists = pa.ListArray.from_arrays([0, 3 * MiB], pa.array(np.zeros(3 * MiB, "u1")))
    pq.write_table(pa.table({"text": ["a"], "more": lists}), "lists.parquet")
    assert "lists.parquet: its" in said(lambda: read("lists.parquet"))
    pq.write_table(pa.table({"text": ["a", None, "a"], "label": [1, 2, 1]}), "right.parquet")
    assert "right.parquet row 1: column 'text' holds nothing" in said(lambda: read("right.parquet"))
    content = Path("right.parquet").read_bytes()
    for start in range(4, 60, 8):  # a page or its head
        damaged = content[:start] + b"\xff" * 8 + content[start + 8 :]
        assert refused("damaged.parquet", damaged).startswith("damaged.parquet")
