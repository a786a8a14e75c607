"""Forms that data has in the wild: what is read without a word, and what one line leads to."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suexp.data.document import Document
from suexp.data.files import Files
from suexp.data.table import Table
from suexp.errors import UserError

ROWS = [("red, cat", 0), ("blue; cat", 1), ('a "cat"', 0)]


def read(content: str, name: str, kind: Any = "classification", **settings: Any) -> list[Document]:
    Path(name).write_text(content)
    return list(Files(test=name, kind=kind, **settings).documents("test"))


def pairs(content: str, name: str, **settings: Any) -> list[tuple[str, Any]]:
    return [(doc.text, doc.label) for doc in read(content, name, **settings)]


def refused(content: str, name: str, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(content, name, **settings)
    return str(caught.value)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_of_objects(in_tmp: Path, indent: int | None) -> None:
    rows = [{"text": text, "label": label} for text, label in ROWS]
    for content in (json.dumps(rows, indent=indent), f"\n {json.dumps(rows, indent=indent)}\n"):
        assert pairs(content, "t.json") == ROWS
    found = read(json.dumps(rows, indent=1), "t.json")
    assert [doc.where for doc in found] == ["t.json:2", "t.json:6", "t.json:10"]


def test_a_broken_list_names_the_line(in_tmp: Path) -> None:
    lm: dict[str, Any] = {"kind": "lm"}
    assert refused('[{"text": "a"},\n{"text": "b"} {"text": "c"}]', "t.json", **lm) == (
        "t.json:2: the list is broken here; each object ends with , or ]"
    )
    assert refused('[{"text": "a"},\n{"text":', "t.json", **lm).startswith("t.json:2: not a JSON")
    assert refused('[\n{"text": "a"},\n1]', "t.json", **lm) == (
        "t.json:3: not a JSON object but int"
    )
    assert refused("[]", "t.json", **lm) == "t.json holds no row"


def test_fields_of_fields(in_tmp: Path) -> None:
    rows = [{"a": {"b": text, "c": 1}, "label": label} for text, label in ROWS]
    settings = {"columns": {"text": "a.b"}}
    lines = "\n".join(map(json.dumps, rows))
    assert pairs(lines, "t.jsonl", **settings) == ROWS
    pq.write_table(pa.Table.from_pylist(rows), "t.parquet")
    found = Files(test="t.parquet", kind="classification", **settings).documents("test")
    assert [(doc.text, doc.label) for doc in found] == ROWS
    assert "no column 'a.d' among a, label" in refused(lines, "t.jsonl", columns={"text": "a.d"})


def test_a_list_of_texts_is_joined(in_tmp: Path) -> None:
    (doc,) = read(
        json.dumps([{"lines": ["one", "two"]}]), "t.json", "lm", columns={"text": "lines"}
    )
    assert doc.text == "one\ntwo"
    (doc,) = read('{"text": "a", "other": ["one", "two"]}', "t.json", "seq2seq")
    assert doc.other == "one; two"


def test_semicolons_and_tabs_in_a_csv(in_tmp: Path) -> None:
    assert pairs("text;label\nred, cat;0\nblue;1\n", "t.csv") == [("red, cat", "0"), ("blue", "1")]
    assert pairs("text,label\n1;2;3,0\n", "t.csv") == [("1;2;3", "0")]
    content = '1.0\tA "man, a\n2.0\tB, c, d\n'  # as STS-B's
    assert pairs(content, "t.csv", columns={"text": 1, "label": 0}) == [
        ('A "man, a', "1.0"),
        ("B, c, d", "2.0"),
    ]
    Path("x.csv").write_text("x;label\n1;a\n2;b\n")
    assert Table("x.csv", validation="x.csv").sizes == {"input_dim": 1, "num_classes": 2}


def test_a_tsv_in_which_every_field_is_quoted(in_tmp: Path) -> None:
    content = '"text"\t"label"\n"say ""hi"""\t"0"\n"two\nlines"\t"1"\n'
    assert pairs(content, "t.tsv") == [('say "hi"', "0"), ("two\nlines", "1")]


def test_names_with_blanks(in_tmp: Path) -> None:
    assert pairs("text, label\na,b\n", "t.csv") == [("a", "b")]


def test_a_table_without_a_header(in_tmp: Path) -> None:
    content = "how\tway\t0\nwhat\twhich\t1\n"
    for name in ("t.txt", "t.tsv", "t.data"):
        line = refused(content, name, kind="pairs")
        assert line.endswith("count its columns: 'data.columns={text: 0, other: 1, label: 2}'")
        counted = {"text": 0, "other": 1, "label": 2}
        found = read(content, name, "pairs", columns=counted)
        assert [(doc.text, doc.other, doc.label) for doc in found] == [
            ("how", "way", "0"),
            ("what", "which", "1"),
        ]
        line = refused(content, name)
        assert line.endswith("count its columns: 'data.columns={text: 0, other: 1, label: 2}'")
        assert pairs(content, name, columns=counted) == [("how", "0"), ("what", "1")]
    assert refused("how\t0\nwhat\t1\n", "t.tsv").endswith("'data.columns={text: 0, label: 1}'")
    assert pairs("0,1\na,b\n", "t.csv", columns={"text": 0, "label": 1}) == [("a", "b")]
    assert "; if the first line" not in refused("text,labl\na,b\n", "t.csv")


def test_packed_by_gzip(in_tmp: Path) -> None:
    content = b"text,label\nred,0\nblue,1\n"
    for settings in ({}, {"format": "csv"}):
        Path("t.csv.gz").write_bytes(gzip.compress(content))
        found = Files(test="t.csv.gz", kind="classification", **settings).documents("test")  # type: ignore[arg-type]
        assert [(doc.text, doc.label) for doc in found] == [("red", "0"), ("blue", "1")]
    Path("t.csv.gz").write_bytes(gzip.compress(content)[:-12])
    with pytest.raises(UserError, match=r"t.csv.gz cannot be read: "):
        list(found := Files(test="t.csv.gz", kind="classification").documents("test"))
    assert refused("text\n", "t.csv.gz") == (
        "t.csv.gz is not packed by gzip; rename it, without .gz"
    )


def test_a_bomb_is_not_unpacked(in_tmp: Path, small: None) -> None:
    Path("t.txt.gz").write_bytes(gzip.compress((b"a" * 1023 + b"\n") * 3000))
    with pytest.raises(UserError, match=r"t.txt.gz: its .* unpack to over"):
        list(Files(test="t.txt.gz", document="line").documents("test"))


def test_labels_that_are_true_or_floats(in_tmp: Path) -> None:
    rows = [{"text": "a", "label": label} for label in (True, False, 2.0, 3)]
    assert [label for _, label in pairs(json.dumps(rows), "t.json")] == [1, 0, 2, 3]


def test_numbers_in_training_and_as_text_in_validation(in_tmp: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 3} for i in range(12)]
    Path("t.json").write_text(json.dumps(rows))
    Path("v.csv").write_text("text,label\na,2\nb,0\n")
    data = Files("t.json", "v.csv", kind="classification", tokenizer="bytes")
    assert [int(row["label"]) for row in data.splits()["validation"]] == [2, 0]
    assert data.label_names == [0, 1, 2]


def test_an_open_quote_is_blamed_where_it_opens(in_tmp: Path) -> None:
    rows = "".join(f"cat {i},{i % 2}\n" for i in range(30))
    assert refused(f'text,label\na,0\n"b,1\n{rows}', "t.csv") == (
        "t.csv:3: 1 fields instead of 2, over 31 lines; close the quote that begins here"
    )


def test_one_paragraph_of_many_lines(in_tmp: Path) -> None:
    Path("t.txt").write_text("".join(f"line {i}\n" for i in range(500)))
    with pytest.raises(UserError) as caught:
        Files("t.txt", tokenizer="bytes").splits()
    assert str(caught.value) == (
        "t.txt:1: all training text is one paragraph, of which none can be held out; for a text a "
        "line set data.document=line, else name data.validation=FILE"
    )
    assert len(Files("t.txt", tokenizer="bytes", document="line").splits()["train"]) > 20
