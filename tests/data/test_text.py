"""What every text has: splits, rows, sizes, baselines, fingerprints, seen on small files."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suexp.data import text as text_module
from suexp.data.files import Files
from suexp.errors import UserError

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write_file(name: str, lines: list[Any]) -> str:
        path = tmp_path / name
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts))
        return str(path)

    return write_file


@pytest.fixture
def corpus(write: Callable[..., str]) -> str:
    return write("corpus.txt", [f"{a} {b}\n" for a in WORDS for b in WORDS])


def rows_of(data: Files, split: str) -> list[dict[str, Any]]:
    dataset = data.splits()[split]
    return dataset.__getitems__(list(range(len(dataset))))


def test_packed_batch(corpus: str) -> None:
    data = Files(train=corpus, tokenizer="bytes", block_size=16)
    batch = data.collate(rows_of(data, "train")[:5])
    assert list(batch) == ["tokens"]
    assert batch["tokens"].shape == (5, 17)
    assert batch["tokens"].dtype == torch.int64
    assert batch["tokens"][0, 0] == data.tokenizer_.eot_id
    torch.testing.assert_close(batch["tokens"][1:, 0], batch["tokens"][:-1, -1])
    assert data.sizes == {"vocab_size": 259}


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_splits_hold_every_document_once(corpus: str, tokenizer: str) -> None:
    data = Files(train=corpus, tokenizer=tokenizer, vocab_size=270, block_size=1, val_fraction=0.3)
    found = {}
    for split in ("train", "validation"):
        targets = [row["tokens"][1] for row in rows_of(data, split)]
        ends = np.flatnonzero(np.array(targets) == data.tokenizer_.eot_id)
        parts = np.split(np.array(targets), ends + 1)[:-1]
        found[split] = [data.tokenizer_.decode(part.tolist()) for part in parts]
        assert data.facts["splits"][split]["documents"] == len(parts)
    assert sorted(found["train"] + found["validation"]) == sorted(
        f"{a} {b}" for a in WORDS for b in WORDS
    )
    assert 15 < len(found["validation"]) < 45


def test_bytes_per_token_and_unigram_by_hand(write: Callable[..., str]) -> None:
    train = write("train.txt", ["aab"])  # predicted: a a b e
    held_out = write("val.txt", ["ab", "", "c"])  # predicted: a b e c e
    data = Files(train=train, validation=held_out, tokenizer="bytes", block_size=1)
    assert data.bytes_per_token("train") == 3 / 4
    assert data.bytes_per_token("validation") == 3 / 5
    total = 4 + 259
    probability = {"a": 3 / total, "b": 2 / total, "e": 2 / total, "c": 1 / total}
    expected = -sum(math.log(probability[token]) for token in "abece") / 5
    assert data.unigram_baseline() == pytest.approx(expected, rel=1e-12)


def test_bits_per_byte_of_a_uniform_model_do_not_depend_on_the_tokenizer(corpus: str) -> None:
    """Bytes in blocks are bytes of text: both tokenizers account for the same text."""
    counts = {}
    for tokenizer in ("bytes", "bpe"):
        data = Files(train=corpus, tokenizer=tokenizer, vocab_size=280, block_size=1)
        facts = data.facts["splits"]["validation"]
        counts[tokenizer] = facts["bytes"]
        assert data.bytes_per_token("validation") == facts["bytes"] / facts["tokens"]
    assert counts["bytes"] == counts["bpe"]


def test_bpe_learns_from_the_training_split_alone(write: Callable[..., str]) -> None:
    train = write("train.txt", ["abcabcabcabc"] * 20)
    held_out = write("val.txt", ["xyzxyzxyzxyz" * 4] * 20)
    data = Files(train=train, validation=held_out, vocab_size=400, block_size=4)
    assert data.tokenizer_.encode("xyz") == data.tokenizer_.encode("x") + data.tokenizer_.encode(
        "y"
    ) + data.tokenizer_.encode("z")
    assert len(data.tokenizer_.encode("abc")) == 1


def test_max_bytes_spares_validation(corpus: str) -> None:
    whole = Files(train=corpus, tokenizer="bytes", block_size=1)
    small = Files(train=corpus, tokenizer="bytes", block_size=1, max_bytes=100)
    assert small.facts["splits"]["train"]["bytes"] == 100
    assert small.facts["splits"]["validation"] == whole.facts["splits"]["validation"]


@pytest.fixture
def labelled(write: Callable[..., str]) -> dict[str, Any]:
    train = [{"text": "abc", "label": "z"}, {"text": "", "label": "a"}, {"text": "é", "label": "z"}]
    held_out = [{"text": "abcdef", "label": "a"}]
    return {
        "train": write("train.jsonl", train),
        "validation": write("val.jsonl", held_out),
        "kind": "classification",
        "tokenizer": "bytes",
    }


def test_labelled_batch(labelled: dict[str, Any]) -> None:
    data = Files(**labelled, block_size=6)
    batch = data.collate(rows_of(data, "train"))
    pad, eot = data.tokenizer_.pad_id, data.tokenizer_.eot_id
    assert batch["tokens"].tolist() == [[97, 98, 99], [eot, pad, pad], [195, 169, pad]]
    assert batch["keep"].tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert batch["label"].tolist() == [1, 0, 1]
    assert (batch["tokens"].dtype, batch["keep"].dtype) == (torch.int64, torch.bool)
    assert data.sizes == {"vocab_size": 259, "num_classes": 2}
    assert data.label_names == ["a", "z"]


def test_truncation_is_a_choice(labelled: dict[str, Any]) -> None:
    data = Files(**labelled, block_size=4)
    assert rows_of(data, "validation")[0]["tokens"].tolist() == list(b"abcd")
    with pytest.raises(UserError, match=r"val.jsonl:1: a text of 6 tokens is longer than .* 4"):
        Files(**labelled, block_size=4, truncate=False).splits()


def test_integer_labels_sort_as_numbers(write: Callable[..., str]) -> None:
    path = write("t.jsonl", [{"text": f"text {i}", "label": i} for i in (100, 9, 10) for _ in "ab"])
    data = Files(train=path, validation=path, kind="classification", tokenizer="bytes")
    assert data.label_names == [9, 10, 100]
    assert [int(row["label"]) for row in rows_of(data, "train")] == [2, 2, 0, 0, 1, 1]


def test_unseen_and_mixed_labels(labelled: dict[str, Any], write: Callable[..., str]) -> None:
    labelled["validation"] = write("val.jsonl", [{"text": "a", "label": "new"}])
    with pytest.raises(UserError, match=r"val.jsonl:1: label 'new' does not occur in the training"):
        Files(**labelled).splits()
    labelled["train"] = write("train.jsonl", [{"text": "a", "label": x} for x in ("a", 1)])
    with pytest.raises(UserError, match="some labels are numbers and some are words"):
        Files(**labelled).splits()


def test_labelled_texts_are_no_language_model(labelled: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"use data.kind=lm, or data=pydoc"):
        Files(**labelled).unigram_baseline()


def test_too_little_text(write: Callable[..., str]) -> None:
    path = write("t.txt", ["abc"])
    with pytest.raises(UserError, match="the train split has less than one block of 128 tokens"):
        Files(train=path, validation=path, tokenizer="bytes").splits()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_size": 0}, "data.block_size must be at least 1, not 0"),
        ({"batch_size": 0}, "data.batch_size must be at least 1"),
        ({"eval_batch_size": -1}, "data.eval_batch_size must be at least 1"),
        ({"max_bytes": 0}, "data.max_bytes must be at least 1"),
        ({"vocab_size": 258}, "data.vocab_size 258: the BPE needs at least 259"),
        ({"val_fraction": 0.0}, "data.val_fraction must be between 0 and 1"),
        ({"val_fraction": 1.0}, "data.val_fraction must be between 0 and 1"),
        ({"columns": {"txt": "a"}}, "data.columns.txt: a row has only text, label, other"),
    ],
)
def test_values_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Files(**settings)


def test_words_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"data.kind is 'x'; use one of lm, classification"):
        text_module.one_of("kind", "x", ("lm", "classification"))


def test_fingerprint_changes_with_what_shapes_the_rows(corpus: str, write: Any) -> None:
    def fingerprint(**settings: Any) -> str:
        return Files(**({"train": corpus} | settings)).fingerprint()

    base = fingerprint()
    assert base == fingerprint()
    same = [
        {"batch_size": 3},
        {"eval_batch_size": 3},
        {"truncate": False},  # of packed text nothing is cut
        {"columns": {"label": "y"}},  # packed text has no label
    ]
    assert {fingerprint(**settings) for settings in same} == {base}
    copy = write("another_name.txt", Path(corpus).read_text().splitlines())
    assert fingerprint(train=copy) == base
    different = [
        {"tokenizer": "bytes"},
        {"vocab_size": 300},
        {"block_size": 64},
        {"val_fraction": 0.2},
        {"max_bytes": 100},
        {"validation": corpus},
        {"test": corpus},
        {"kind": "classification"},
        {"kind": "classification", "truncate": False},
        {"kind": "classification", "columns": {"label": "y"}},
        {"document": "line"},
        {"format": "csv"},
        {"format": "csv", "header": False},
        {"train": [corpus, copy]},
        {"train": write("other.txt", ["something else"])},
    ]
    found = [fingerprint(**settings) for settings in different]
    assert len({base, *found}) == len(found) + 1
    assert fingerprint(tokenizer="bytes", vocab_size=300) == fingerprint(tokenizer="bytes")


def test_fingerprint_follows_the_content(write: Callable[..., str]) -> None:
    path = write("t.txt", ["abc"])
    before = Files(train=path).fingerprint()
    write("t.txt", ["abd"])  # the same size, in the same second
    after = Files(train=path).fingerprint()
    assert after != before
    write("t.txt", ["abc"])
    assert Files(train=path).fingerprint() == before


def test_prepared_once(corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"train": corpus, "block_size": 8, "vocab_size": 300}
    first = Files(**settings)
    rows = [row["tokens"].tolist() for row in rows_of(first, "train")]
    monkeypatch.setattr(Files, "documents", None)
    again = Files(**settings)
    assert [row["tokens"].tolist() for row in rows_of(again, "train")] == rows
    assert again.tokenizer_.encode("one two") == first.tokenizer_.encode("one two")
    assert again.splits()["train"]._fingerprint == first.splits()["train"]._fingerprint
