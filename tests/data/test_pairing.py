"""Pairs of texts from files, with and without labels."""

from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.data.files import Files
from suexp.errors import UserError


def pairs(**settings: Any) -> Files:
    return Files(kind="pairs", tokenizer="bytes", val_fraction=0.5, **settings)


def batch(data: Files, split: str = "test") -> dict[str, torch.Tensor]:
    rows = data.splits()[split]
    return data.collate([rows[i] for i in range(len(rows))])


def test_pairs_without_labels(in_tmp: Path) -> None:
    Path("t.tsv").write_text("one\tfirst\ntwo\tthe second\n")
    files = {"train": "t.tsv", "validation": "t.tsv", "test": "t.tsv"}
    data = pairs(header=False, columns={"text": 0, "other": 1}, **files)
    found = batch(data)
    assert set(found) == {"tokens_a", "keep_a", "tokens_b", "keep_b"}
    assert found["tokens_a"].shape == (2, 3)
    assert found["tokens_b"].shape == (2, 10)
    assert bytes(found["tokens_b"][0][found["keep_b"][0]].tolist()) == b"first"


@pytest.mark.parametrize("labels", [("1", "0"), (1, 0)])
def test_labels_say_which_pairs_match(in_tmp: Path, labels: Any) -> None:
    import json

    rows = [{"text": "a", "other": "b", "label": label} for label in labels]
    Path("t.json").write_text("\n".join(map(json.dumps, rows)))
    data = pairs(train="t.json", validation="t.json", test="t.json")
    assert batch(data)["match"].tolist() == [True, False]


def test_a_renamed_label_must_be_there(in_tmp: Path) -> None:
    Path("t.csv").write_text("text,other,y\na,b,1\n")
    assert pairs(train="t.csv").optional == ["label"]
    data = pairs(train="t.csv", validation="t.csv", columns={"label": "y"})
    assert batch(data, "train")["match"].tolist() == [True]
    wrong = pairs(train="t.csv", validation="t.csv", columns={"label": "z"})
    with pytest.raises(UserError, match="no column 'z' among text, other, y"):
        wrong.splits()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"text": "a", "other": "b", "label": 2}', r"t\.json:1: label 2 of a pair; write 1"),
        (
            '{"text": "a", "other": "b", "label": 1}\n{"text": "a", "other": "c"}',
            r"t\.json:2: some pairs have a label and some have none",
        ),
        ('{"text": "a"}', r"t\.json:1: no column 'other' among text"),
        ('{"text": "a", "other": null}', r"t\.json:1: column 'other' holds nothing, not text"),
    ],
)
def test_bad_rows_are_named(in_tmp: Path, rows: str, message: str) -> None:
    Path("t.json").write_text(rows)
    with pytest.raises(UserError, match=message):
        pairs(train="t.json", validation="t.json").splits()


def test_a_text_that_is_too_long(in_tmp: Path) -> None:
    Path("t.csv").write_text("text,other\na,bbbbb\n")
    short = {"train": "t.csv", "validation": "t.csv", "block_size": 3}
    assert batch(pairs(**short), "train")["tokens_b"].shape == (1, 3)
    with pytest.raises(UserError, match=r"t\.csv:2: a text of 5 tokens is longer"):
        pairs(**short, truncate=False).splits()


def test_an_empty_text_keeps_one_token(in_tmp: Path) -> None:
    Path("t.csv").write_text("text,other\na,\n")
    found = batch(pairs(train="t.csv", validation="t.csv"), "train")
    assert found["keep_b"].tolist() == [[True]]


@pytest.mark.slow
def test_real_pairs(shared_data: Path) -> None:
    folder = shared_data / "oppo_xiaobu"
    settings = {"format": "tsv", "header": False}
    data = pairs(
        train=str(folder / "dev.txt"),
        test=str(folder / "test.txt"),
        columns={"text": 0, "other": 1, "label": 2},
        **settings,
    )
    with pytest.raises(UserError, match=r"test\.txt:1: no column '2' among 0, 1"):
        data.splits()
    data = pairs(
        train=str(folder / "dev.txt"), columns={"text": 0, "other": 1, "label": 2}, **settings
    )
    sizes = {name: len(rows) for name, rows in data.splits().items()}
    assert sum(sizes.values()) == 10000
    match = batch(data, "validation")["match"]
    assert 0.3 < match.float().mean() < 0.7


def test_unlabelled_pairs_join_the_training_split(in_tmp: Path) -> None:
    Path("known.tsv").write_text("a\tb\t1\nc\td\t0\n")
    Path("more.tsv").write_text("e\tf\ng\th\ni\tj\n")
    columns: dict[str, str | int] = {"text": 0, "other": 1, "label": 2}
    files = {"train": "known.tsv", "validation": "known.tsv", "unlabelled": "more.tsv"}
    data = pairs(header=False, columns=columns, **files)
    found = batch(data, "train")
    assert found["labelled"].tolist() == [True, True, False, False, False]
    assert found["match"].tolist() == [True, False, False, False, False]
    assert found["tokens_a"][:, 0].tolist() == [*b"acegi"]
    assert batch(data, "validation")["labelled"].tolist() == [True, True]
    assert [path.name for path in data.reads()] == ["known.tsv", "known.tsv", "more.tsv"]
    alone = pairs(header=False, columns=columns, train="known.tsv", validation="known.tsv")
    assert alone.fingerprint() != data.fingerprint()
    # A label that is there is not looked at.
    again = pairs(header=False, columns=columns, **files | {"unlabelled": "known.tsv"})
    assert batch(again, "train")["labelled"].tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match=r"data\.unlabelled .*set data\.kind=pairs"):
        Files(train="known.tsv", unlabelled="more.tsv")


@pytest.mark.slow
def test_real_pairs_with_unlabelled_ones(shared_data: Path) -> None:
    folder = shared_data / "oppo_xiaobu"
    data = Files(
        train=str(folder / "dev.txt"),
        unlabelled=str(folder / "test.txt"),
        kind="pairs",
        tokenizer="chars",
        vocab_size=3000,
        columns={"text": 0, "other": 1, "label": 2},
        format="tsv",
        header=False,
        reserved=2,
        begin=True,
    )
    sizes = {name: len(rows) for name, rows in data.splits().items()}
    assert sum(sizes.values()) == 60_000
    rows = data.splits()["train"]
    last = data.collate(rows.__getitems__([0, len(rows) - 1]))
    assert last["labelled"].tolist() == [True, False]
    assert not batch(data, "validation")["labelled"].logical_not().any()
