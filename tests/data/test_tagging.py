import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suexp.data.files import Files
from suexp.data.tagging import units_of
from suexp.errors import UserError


def tagged(train: str, **settings: Any) -> Files:
    defaults = {"kind": "tagging", "tokenizer": "chars", "validation": train, "block_size": 8}
    return Files(train=train, **(defaults | settings))


def write(name: str, *rows: Any) -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def test_segmented_text_becomes_characters_with_tags(in_tmp: Path) -> None:
    write("t.txt", "共同  创造  的  新世纪  ", "", "\u3000", "的  共同")
    data = tagged("t.txt")
    docs = list(data.documents("train"))
    assert [doc.where for doc in docs] == ["t.txt:1", "t.txt:4"]
    units, tags = units_of(docs[0])
    assert units == "共同创造的新世纪"
    assert "".join(tags) == "BEBESBIE"
    rows = data.splits()["train"].__getitems__([0, 1])
    batch = data.collate(rows)
    assert batch["tokens"].shape == (2, 8)
    assert batch["keep"].sum(1).tolist() == [8, 3]
    names = data.label_names
    assert [names[i] for i in batch["tags"][1, :3]] == ["S", "B", "E"]
    assert batch["tags"][1, 3:].tolist() == [-100] * 5
    known = data.tokenizer_.decode(batch["tokens"][0].tolist())
    assert known == "共同\ufffd\ufffd的\ufffd\ufffd\ufffd"  # what is seen once is unknown


def test_json_lines_with_tokens_and_tags(in_tmp: Path) -> None:
    write("t.jsonl", {"words": list("ab"), "ner": ["B-PER", "O"]}, {"words": ["a"], "ner": ["O"]})
    data = tagged("t.jsonl", columns={"tokens": "words", "tags": "ner"})
    assert data.label_names == ["B-PER", "O"]
    batch = data.collate(data.splits()["train"].__getitems__([0, 1]))
    assert batch["tags"].tolist() == [[0, 1], [1, -100]]
    pq.write_table(pa.table({"tokens": [["a", "b"]], "tags": [["O", "S"]]}), "t.parquet")
    assert tagged("t.parquet").label_names == ["O", "S"]


def test_long_texts_are_cut_or_refused(in_tmp: Path) -> None:
    write("t.txt", "abc de fghijk")
    data = tagged("t.txt", block_size=4)
    assert len(data.splits()["train"][0]["tags"]) == 4
    with pytest.raises(UserError, match=r"t.txt:1: a text of 11 tokens is longer than data.block"):
        tagged("t.txt", block_size=4, truncate=False).splits()


def test_units_are_found_by_bert_s_first_piece(in_tmp: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "中"]
    Path("vocab.txt").write_text("\n".join(words) + "\n")
    write("t.jsonl", {"tokens": ["playing", "中", "?"], "tags": ["B", "E", "S"]})
    data = tagged("t.jsonl", tokenizer="wordpiece", vocab="vocab.txt")
    batch = data.collate(data.splits()["train"].__getitems__([0]))
    assert batch["tokens"].tolist() == [[2, 5, 7, 1, 3]]
    assert batch["tags"].tolist() == [[-100, 0, 1, 2, -100]]


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([{"tokens": ["a"], "tags": ["O", "O"]}], {}, "t.jsonl:1: 1 tokens but 2 tags"),
        ([{"tokens": [], "tags": []}], {}, "t.jsonl:1: no token; remove the row"),
        ([{"tokens": ["a"], "tags": ["NOUN"]}], {}, "t.jsonl:1: tag 1 is 'NOUN'; a tag is S, B, I"),
        ([{"tokens": ["a"], "tags": [3]}], {}, "t.jsonl:1: column 'tags' holds int, not text"),
        ([{"tokens": "a", "tags": ["O"]}], {}, "t.jsonl:1: column 'tokens' holds str, not a list"),
        ([{"tokens": ["a"]}], {}, "t.jsonl:1: column 'tags' holds nothing, not a list of texts"),
        ([{"txt": "a"}], {}, "t.jsonl:1: no column 'text'"),
        (
            [{"tokens": ["ab"], "tags": ["O"]}],
            {"tokenizer": "bytes"},
            "t.jsonl:1: 'ab' is 2 tokens, but has one tag; use data.tokenizer=words, or data.",
        ),
    ],
)
def test_bad_rows(in_tmp: Path, rows: list[Any], settings: dict[str, Any], message: str) -> None:
    write("t.jsonl", *rows)
    with pytest.raises(UserError) as caught:
        tagged("t.jsonl", **settings).splits()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_tag_that_training_has_not(in_tmp: Path) -> None:
    write("t.jsonl", {"tokens": ["a"], "tags": ["O"]})
    with pytest.raises(UserError, match="all training rows have the label 'O'; there is nothing"):
        tagged("t.jsonl").splits()
    write("v.jsonl", {"tokens": ["a"], "tags": ["O"]}, {"tokens": ["a"], "tags": ["B-ORG"]})
    with pytest.raises(UserError) as caught:
        tagged("t.jsonl", validation="v.jsonl").splits()
    assert str(caught.value).startswith(
        "v.jsonl:2: tag 'B-ORG' does not occur in the training split (O do); correct it"
    )


def test_limited_text_keeps_tokens_and_tags_together(in_tmp: Path) -> None:
    write("t.jsonl", *({"tokens": list("abcd"), "tags": list("BIEO")} for _ in range(3)))
    data = tagged("t.jsonl", max_bytes=10)
    assert len(data.splits()["train"]) == 2


@pytest.mark.parametrize("name", ["pku", "msr"])
def test_sighan_2005(shared_data: Path, name: str) -> None:
    path = shared_data / "segmentation" / f"{name}_test_gold.utf8"
    data = Files(train=str(path), kind="tagging", tokenizer="chars", block_size=256)
    assert data.label_names == ["B", "E", "I", "S"]
    assert data.sizes["num_labels"] == 4
    assert 1500 < data.sizes["vocab_size"] < 4000
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    splits = data.splits()
    assert len(splits["train"]) + len(splits["validation"]) == sum(bool(line) for line in lines)
    words = sum(len(line) for line in lines)
    ends = {data.label_names.index(tag) for tag in "SE"}
    docs = [*data.documents("train"), *data.documents("validation")]
    assert sum(tag in "SE" for doc in docs for tag in units_of(doc)[1]) == words
    row = splits["train"][0]
    assert int(row["tags"][-1]) in ends
