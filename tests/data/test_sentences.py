from pathlib import Path

import pytest
import torch

from suexp.data import DocstringSentences, Files
from suexp.data.docstring_sentences import PLAIN
from suexp.errors import UserError


@pytest.fixture(scope="module")
def data() -> DocstringSentences:
    return DocstringSentences(tokenizer="bytes", block_size=60)


def test_plain_sentences_of_so_many_words(data: DocstringSentences) -> None:
    splits = {name: [doc.text for doc in data.documents(name)] for name in data.split_names}
    texts = splits["train"] + splits["validation"]
    assert len(set(texts)) == len(texts) > 1500
    assert len(splits["validation"]) / len(texts) == pytest.approx(0.1, abs=0.03)
    for text in texts:
        assert 4 <= len(text.split()) <= 8
        assert PLAIN.fullmatch(text)
        assert "  " not in text


def test_a_batch_has_one_width_and_each_row_an_end(data: DocstringSentences) -> None:
    rows = data.splits()["validation"].__getitems__([3, 5, 8])
    batch, tokenizer = data.collate(rows), data.tokenizer_
    assert batch["tokens"].shape == batch["keep"].shape == (3, 60)
    assert torch.equal(batch["keep"], batch["tokens"] != tokenizer.pad_id)
    texts = [doc.text for doc in data.documents("validation")]
    for number, tokens, keep in zip((3, 5, 8), batch["tokens"], batch["keep"], strict=True):
        row = tokens[keep].tolist()
        assert row[0] == row[-1] == tokenizer.eot_id
        assert tokenizer.decode(row) == texts[number][:58]


def test_the_words_are_part_of_the_fingerprint() -> None:
    assert DocstringSentences().fingerprint() != DocstringSentences(max_words=9).fingerprint()


def files(folder: Path, text: str, **settings: object) -> Files:
    path = folder / "questions.txt"
    path.write_text(text, encoding="utf-8")
    given = {"tokenizer": "chars", "block_size": 10, "document": "line", "val_fraction": 0.5}
    return Files(train=str(path), kind="sentences", **(given | settings))  # type: ignore[arg-type]


QUESTIONS = "".join(f"问题{chr(0x4E00 + i)}是什么\n" for i in range(20))


def test_a_file_of_questions(tmp_path: Path) -> None:
    data = files(tmp_path, QUESTIONS)
    rows = data.splits()["train"]
    batch = data.collate(rows.__getitems__([0, 1]))
    assert batch["tokens"].shape == (2, 10)
    assert batch["keep"].sum(1).tolist() == [8, 8]
    assert data.tokenizer_.decode(batch["tokens"][0].tolist()).startswith("问题")
    begun = files(tmp_path, QUESTIONS, begin=True)
    tokens = begun.collate(begun.splits()["train"].__getitems__([0]))["tokens"]
    assert tokens[0, 0] == begun.tokenizer_.begin[0] != begun.tokenizer_.eot_id


def test_long_texts_are_cut_or_refused(tmp_path: Path) -> None:
    cut = files(tmp_path, QUESTIONS, block_size=5)
    tokens = cut.collate(cut.splits()["train"].__getitems__([0]))["tokens"]
    assert tokens[0, -1] == cut.tokenizer_.eot_id
    with pytest.raises(UserError, match=r"a text of 6 tokens is longer than data.block_size 5"):
        files(tmp_path, QUESTIONS, block_size=5, truncate=False).splits()
    with pytest.raises(UserError, match=r"data.block_size 2 leaves no room for a text"):
        files(tmp_path, QUESTIONS, block_size=2).splits()


def test_words_in_the_wrong_order() -> None:
    with pytest.raises(ValueError, match=r"data.min_words 9 must be at least 1 and at most .* 8"):
        DocstringSentences(min_words=9)
