"""BERT's tokens from a vocab.txt, ids equal to transformers'."""

import json
from pathlib import Path

import pytest

from suexp.data.files import Files
from suexp.errors import UserError

WORDS = ["the", "cat", "Cat", "sat", "on", "mat", "un", "##happi", "##ness", "##s", ",", "."]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "我", "们"]
TEXTS = ["The cats sat, on the mat.", "Unhappiness", "我们 the cat", "zebra"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    rows = [{"text": text, "label": i % 2} for i, text in enumerate(TEXTS * 5)]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def files(folder: Path, **changes) -> Files:
    return Files(
        **{
            "train": str(folder / "rows.jsonl"),
            "validation": str(folder / "rows.jsonl"),
            "kind": "classification",
            "tokenizer": "wordpiece",
            "vocab": str(folder),
            **changes,
        }
    )


def test_pieces_between_cls_and_sep(checkpoint: Path) -> None:
    data = files(checkpoint)
    tokenizer = data.tokenizer_
    names = [VOCABULARY[i] for i in tokenizer.encode("The cats sat, Unhappiness 我们")]
    assert names == ["the", "cat", "##s", "sat", ",", "un", "##happi", "##ness", "我", "们"]
    assert data.sizes["vocab_size"] == len(VOCABULARY)
    rows = data.splits()["train"]
    batch = data.collate([rows[0], rows[1]])
    assert [VOCABULARY[i] for i in batch["tokens"][1]][:5] == [
        *("[CLS]", "un", "##happi", "##ness", "[SEP]")
    ]
    assert batch["tokens"][1, 5:].tolist() == [0] * (batch["tokens"].shape[1] - 5)
    assert tokenizer.decode(batch["tokens"][1].tolist()) == "unhappiness"


def test_long_texts_keep_their_end(checkpoint: Path) -> None:
    rows = files(checkpoint, block_size=5).splits()["train"]
    assert [VOCABULARY[i] for i in rows[0]["tokens"]] == ["[CLS]", "the", "cat", "##s", "[SEP]"]
    with pytest.raises(UserError, match=r"9 tokens is longer than data\.block_size 5 allows"):
        files(checkpoint, block_size=5, truncate=False).splits()


def test_capitals_count_where_the_checkpoint_says_so(checkpoint: Path) -> None:
    lower = files(checkpoint).fingerprint()
    (checkpoint / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    data = files(checkpoint)
    assert [VOCABULARY[i] for i in data.tokenizer_.encode("Cat cat The")] == ["Cat", "cat", "[UNK]"]
    assert data.fingerprint() != lower


def test_ids_equal_the_peers(checkpoint: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer(str(checkpoint / "vocab.txt"))
    tokenizer = files(checkpoint).tokenizer_
    for text in TEXTS:
        ids = [*tokenizer.begin, *tokenizer.encode(text), *tokenizer.end]
        assert ids == theirs(text)["input_ids"]


def test_refusals(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"wordpiece needs data\.vocab"):
        files(checkpoint, vocab=None)
    with pytest.raises(UserError, match=r"data\.vocab: no file .*nowhere"):
        files(checkpoint, vocab="nowhere").splits()
    (checkpoint / "other.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.txt is no vocabulary of BERT: it has no \[PAD\]"):
        files(checkpoint, vocab=str(checkpoint / "other.txt")).splits()


def test_a_vocabulary_is_read_line_by_line(checkpoint: Path) -> None:
    """As transformers reads it: U+2028 is a token of the Chinese ones, not the end of a line."""
    path = checkpoint / "vocab.txt"
    path.write_text("\r\n".join([*VOCABULARY, "\u2028", "last"]) + "\r\n", encoding="utf-8")
    data = files(checkpoint)
    assert data.tokenizer_.encode("last") == [len(VOCABULARY) + 1]
    path.write_text("\n".join([*VOCABULARY, "cat"]), encoding="utf-8")
    with pytest.raises(UserError, match=r"vocab\.txt is no vocabulary of BERT: 'cat' stands there"):
        files(checkpoint).splits()
    path.write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(UserError, match=r"vocab\.txt: not UTF-8 at byte 6 \(line 2\)"):
        files(checkpoint).splits()
