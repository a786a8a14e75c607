"""Texts with answers: one text a row or two; classes, numbers, several labels."""

import json
from pathlib import Path
from typing import Any

import pytest

from suexp.data.document import Document
from suexp.data.files import Files
from suexp.data.tokenizer import ByteTokenizer
from suexp.data.two_texts import two_texts
from suexp.errors import UserError

BYTES = ByteTokenizer()
E = BYTES.eot_id


def rows(*pairs: tuple[str, str], block_size: int = 20, **settings: Any) -> list[list[int]]:
    documents = [Document(x, x, where=f"f:{i}", other=y) for i, (x, y) in enumerate(pairs, 1)]
    tokenizer = settings.get("tokenizer", BYTES)
    found, second = two_texts(documents, tokenizer, block_size, settings.get("truncate", True))
    assert all(row[place - 1] == E for row, place in zip(found, second, strict=True))
    return [row.tolist() for row in found]


def test_two_texts_in_a_row() -> None:
    assert rows(("ab", "c"), ("", "")) == [[97, 98, E, 99, E], [E, E]]
    framed = ByteTokenizer()
    framed.begin = (5,)
    assert rows(("ab", "c"), tokenizer=framed) == [[5, 97, 98, E, 99, E]]


@pytest.mark.parametrize(
    ("x", "y", "left"),
    [
        (9, 1, (5, 1)),
        (1, 9, (1, 5)),
        (9, 9, (3, 3)),
        (3, 9, (3, 3)),
        (4, 3, (3, 3)),
        (2, 4, (2, 4)),
    ],
)
def test_the_longer_text_gives_way(x: int, y: int, left: tuple[int, int]) -> None:
    (row,) = rows(("a" * x, "b" * y), block_size=8)
    assert (row.count(97), row.count(98)) == left
    if x + y > 6:
        with pytest.raises(
            UserError, match=rf"f:1: texts of {x} \+ {y} tokens are longer than dat"
        ):
            rows(("a" * x, "b" * y), block_size=8, truncate=False)


def test_a_row_without_its_second_text(in_tmp: Path) -> None:
    lines = [{"text": "a", "other": "b", "label": 0}, {"text": "c", "label": 1}]
    Path("t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UserError, match=r"t.jsonl:2: no second text, but other rows have one"):
        Files("t.jsonl", "t.jsonl", kind="classification", tokenizer="bytes").splits()


def batch(content: str, kind: Any, **settings: Any) -> tuple[Files, dict[str, list[Any]]]:
    Path("t.tsv").write_text(content)
    data = Files("t.tsv", "t.tsv", kind=kind, tokenizer="bytes", **settings)
    found = data.collate(list(data.splits()["train"]))
    return data, {name: value.tolist() for name, value in found.items()}


def test_classes_of_pairs(in_tmp: Path) -> None:
    content = "text\tother\tlabel\na\tb\tyes\na\tbc\tno\n"
    data, found = batch(content, "classification")
    assert data.sizes == {"vocab_size": 259, "num_classes": 2}
    assert found["label"] == [1, 0]
    assert found["segments"] == [[0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]
    assert found["keep"] == [[True] * 4 + [False], [True] * 5]
    _, found = batch("text\tlabel\na\tyes\nb\tno\n", "classification")
    assert set(found) == {"tokens", "keep", "label"}


def test_numbers(in_tmp: Path) -> None:
    content = "text\tother\tlabel\na\tb\t4.25\na\tb\t0\n"
    data, found = batch(content, "regression")
    assert found["target"] == [4.25, 0]
    assert data.sizes == {"vocab_size": 259}
    with pytest.raises(UserError, match=r"t.tsv:2: column 'label' holds 'high', not a number"):
        batch("text\tlabel\na\thigh\n", "regression")
    with pytest.raises(UserError, match=r"all training rows have the label 2\.0"):
        batch("text\tlabel\na\t2\nb\t2.0\n", "regression")


def test_labels_of_pairs_lead_to_their_tasks(in_tmp: Path) -> None:
    with pytest.raises(UserError) as caught:
        batch("text\tother\tlabel\na\tb\t1\na\tb\t2\n", "pairs")
    assert str(caught.value) == (
        "t.tsv:3: label '2' of a pair; write 1 where the texts match, else 0; use "
        "task=classification data.kind=classification for classes of pairs, task=text_regression "
        "data.kind=regression for grades"
    )
