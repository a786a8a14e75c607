import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suexp.data.document import Document
from suexp.data.files import Files
from suexp.errors import UserError

ROWS = [("the first", "b"), ("the second, quoted", "a"), ('a "third"', "b"), ("你好", "a")]


def documents(data: Files, split: str = "test") -> list[Document]:
    return list(data.documents(split))


def pairs(**settings: Any) -> list[tuple[str, Any]]:
    data = Files(kind="classification", **settings)
    return [(doc.text, doc.label) for doc in documents(data)]


def test_json_lines(in_tmp: Path) -> None:
    lines = [json.dumps({"sentence": text, "y": label, "id": 1}) for text, label in ROWS]
    Path("t.json").write_text("\n".join([lines[0], "", *lines[1:]]))
    assert pairs(test="t.json", columns={"text": "sentence", "label": "y"}) == ROWS


def test_csv_with_quotes_and_line_breaks(in_tmp: Path) -> None:
    Path("t.csv").write_bytes(
        b'\xef\xbb\xbftext,label\r\nthe first,b\r\n"the second, quoted",a\r\n'
        b'"a ""third""",b\r\n\xe4\xbd\xa0\xe5\xa5\xbd,a\r\n"two\r\nlines",a\r\n'
    )
    assert pairs(test="t.csv") == [*ROWS, ("two\r\nlines", "a")]
    assert documents(Files(test="t.csv"))[4].where == "t.csv:7"


def test_tsv_takes_quotes_as_they_are(in_tmp: Path) -> None:
    Path("t.tsv").write_text("text\tlabel\n\"open\tb\nit's\ta\n")
    assert pairs(test="t.tsv") == [('"open', "b"), ("it's", "a")]


def test_table_without_header(in_tmp: Path) -> None:
    Path("t.txt").write_text("x\ty\t0\nz\tw\t1\n")
    settings = {"test": "t.txt", "format": "tsv", "header": False}
    assert pairs(**settings, columns={"text": 1, "label": 2}) == [("y", "0"), ("w", "1")]


def test_parquet(in_tmp: Path) -> None:
    table = pa.table({"text": [t for t, _ in ROWS], "label": [1, 2, 3, 4], "more": [0.5] * 4})
    pq.write_table(table, "t.parquet")
    assert pairs(test="t.parquet") == [(text, i + 1) for i, (text, _) in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("paragraph", ["one\ntwo", "three", "  four"]),
        ("line", ["one", "two", "three", "  four"]),
        ("file", ["one\ntwo\n\n \nthree\n\n  four"]),
    ],
)
def test_documents_of_a_text_file(in_tmp: Path, document: Any, expected: list[str]) -> None:
    Path("t.txt").write_bytes(b"\n\none\r\ntwo\n\n \nthree\n\n  four")
    data = Files(test="t.txt", document=document)
    assert [doc.text for doc in documents(data)] == [
        text.rstrip("\n") if document != "file" else text for text in expected
    ]
    assert documents(data)[0].where == "t.txt:3"


def test_globs_and_lists(in_tmp: Path) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    assert [d.text for d in documents(Files(test="*.txt"))] == ["a.txt", "b.txt"]
    assert [d.text for d in documents(Files(test="**/*.txt"))] == ["a.txt", "b.txt", "sub/c.txt"]
    assert [d.text for d in documents(Files(test=["b.txt", "sub/*"]))] == ["b.txt", "sub/c.txt"]


def bad(name: str, content: bytes | str, **settings: Any) -> str:
    """Return the message for a file."""
    data = content.encode() if isinstance(content, str) else content
    Path(name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        documents(Files(test=name, **settings))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_bad_files(in_tmp: Path) -> None:
    labels: dict[str, Any] = {"kind": "classification"}
    assert bad("t.txt", "") == "t.txt is empty"
    assert bad("t.txt", b"ok\nna\xefve\n").startswith("t.txt: not UTF-8 at byte 5 (line 2); ")
    assert bad("t.jsonl", '{"text": "a"}\n{"text": \n').startswith("t.jsonl:2: not a JSON object: ")
    assert bad("t.jsonl", "[1]\n") == "t.jsonl:1: not a JSON object but int"
    assert bad("t.jsonl", "1\n") == "t.jsonl:1: not a JSON object but int"
    assert (
        bad("t.jsonl", '{"sentence": "a", "id": 0}\n', columns={"text": "sentense"})
        == "t.jsonl:1: no column 'sentense' among sentence, id; did you mean "
        "data.columns.text=sentence?"
    )
    assert (
        bad("t.jsonl", '{"text": "a", "id": 0}\n', **labels)
        == "t.jsonl:1: no column 'label' among text, id; name one with data.columns.label=COLUMN"
    )
    assert bad("t.jsonl", '{"text": [1]}\n') == "t.jsonl:1: column 'text' holds list, not text"
    assert (
        bad("t.jsonl", '{"text": "ab\\ud83d"}')
        == "t.jsonl:1: character 2 of column 'text' is half of a surrogate pair ('\\ud83d'); "
        "write the whole character"
    )
    assert "holds nothing, not a word" in bad("t.jsonl", '{"text": "", "label": null}', **labels)
    assert "holds float, not a word" in bad("t.jsonl", '{"text": "", "label": 0.5}', **labels)
    assert "holds dict, not a word" in bad("t.jsonl", '{"text": "", "label": {}}', **labels)
    assert bad("t.csv", "text,label\na,b\nc\n") == "t.csv:3: 1 fields instead of 2"
    assert bad("t.csv", "txt,label\na,b\n").startswith(
        "t.csv:2: no column 'text' among txt, label;"
    )
    assert bad("t.parquet", "not parquet") == "t.parquet: not a Parquet file"
    assert "plain text has no column 'label'" in bad("t.txt", "a", **labels)
    assert bad("t.data", "a").startswith("t.data: cannot tell the format by the name; set data.fo")


def test_bad_parquet_column(in_tmp: Path) -> None:
    pq.write_table(pa.table({"sentence": ["a"]}), "t.parquet")
    with pytest.raises(UserError, match=r"t.parquet: no column 'text' among sentence; name one"):
        documents(Files(test="t.parquet"))


def test_missing_files(in_tmp: Path) -> None:
    Path("train.json").write_text("{}")
    for settings, message in (
        ({"train": "trian.json"}, r"data.train: no file trian.json; did you mean train.json\?"),
        ({"train": "nowhere/x.txt"}, r"data.train: no file nowhere/x.txt; looked in .*nowhere"),
        ({"train": "*.csv"}, r"data.train: no file \*.csv; looked in"),
        ({"train": "train.json", "test": "x/"}, "data.test: no file x/"),
        ({"train": "."}, "data.train: . is a folder; name its files"),
        ({}, "data.train names no file; give it a path"),
        ({"train": []}, "data.train names no file"),
    ):
        for ask in (Files.fingerprint, Files.splits):
            with pytest.raises(UserError, match=message):
                ask(Files(**settings))


@pytest.mark.slow
def test_iflytek(shared_data: Path) -> None:
    folder = shared_data / "iflytek"
    data = Files(
        train=str(folder / "train_few_all.json"),
        validation=str(folder / "dev_few_all.json"),
        test=str(folder / "test_public.json"),
        kind="classification",
        columns={"text": "sentence", "label": "label_des"},
        tokenizer="bpe",
        vocab_size=4000,
    )
    rows = {name: len(split) for name, split in data.splits().items()}
    assert rows == {"train": 3024, "validation": 1373, "test": 1749}
    assert data.sizes == {"vocab_size": 4000, "num_classes": 119}
    assert "社区服务" in data.label_names
    first = data.splits()["train"].__getitems__([0])[0]
    assert data.tokenizer_.decode(first["tokens"].tolist()).startswith("行讯通是广州")
    assert data.label_names[int(first["label"])] == "社区服务"


def test_csl(shared_data: Path) -> None:
    data = Files(
        train=str(shared_data / "csl" / "test_public.json"),
        validation=str(shared_data / "csl" / "dev_few_all.json"),
        columns={"text": "abst"},
        tokenizer="bytes",
    )
    documents = {name: facts["documents"] for name, facts in data.facts["splits"].items()}
    assert documents == {"train": 2838, "validation": 160}
    size = sum(len(doc.text.encode()) for doc in data.documents("validation"))
    assert 0 <= size - data.facts["splits"]["validation"]["bytes"] < 128


@pytest.mark.slow
def test_tinyshakespeare(shared_data: Path) -> None:
    path = shared_data / "tinyshakespeare" / "input.txt"
    data = Files(train=str(path), vocab_size=1024)
    facts = data.facts["splits"]
    assert facts["train"]["documents"] + facts["validation"]["documents"] == 7222
    speeches = path.read_text().strip().split("\n\n")
    total = sum(len(speech.encode()) for speech in speeches)
    missing = total - facts["train"]["bytes"] - facts["validation"]["bytes"]
    assert 0 <= missing < 2 * 128 * 12
    assert facts["validation"]["bytes"] / total == pytest.approx(0.1, abs=0.02)


@pytest.mark.slow
def test_oppo_xiaobu(shared_data: Path) -> None:
    path = str(shared_data / "oppo_xiaobu" / "dev.txt")
    settings: dict[str, Any] = {"format": "tsv", "header": False, "kind": "classification"}
    data = Files(train=path, columns={"text": 0, "label": 2}, tokenizer="bytes", **settings)
    rows = {name: len(split) for name, split in data.splits().items()}
    assert sum(rows.values()) == 10_000
    assert rows["validation"] == pytest.approx(1000, abs=100)
    assert data.label_names == ["0", "1"]
    without_labels = str(shared_data / "oppo_xiaobu" / "test.txt")
    with pytest.raises(UserError, match=r"test.txt:1: no column '2' among 0, 1; name one with"):
        Files(train=without_labels, columns={"text": 0, "label": 2}, **settings).splits()
    plain = Files(train=without_labels, columns={"text": 1}, format="tsv", header=False)
    assert sum(1 for split in ("train", "validation") for _ in plain.documents(split)) == 50_000


def test_a_text_may_begin_with_a_token_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nab,x\ncd,y\nef,x\n")
    data = Files(
        train=str(tmp_path / "a.csv"),
        validation=str(tmp_path / "a.csv"),
        kind="classification",
        tokenizer="bytes",
        reserved=2,
        begin=True,
    )
    row = data.collate([data.splits()["train"][0]])["tokens"][0]
    assert row.tolist() == [261, *b"ab"]
    assert data.sizes["vocab_size"] == 262
