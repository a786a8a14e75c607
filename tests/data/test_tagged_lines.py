"""CoNLL's files: read as tokens with tags, however they are called."""

from pathlib import Path
from typing import Any

import pytest

from suexp.data.files import Files
from suexp.errors import UserError

BIO = "王 B-PER\n小 I-PER\n在 O\n北 B-LOC\n\n天 O\n气 O\n\n\n"


def read(content: str, name: str = "t.txt", **settings: Any) -> list[tuple[str, str]]:
    Path(name).write_text(content)
    data = Files(test=name, kind="tagging", **settings)
    return [("|".join(doc.units or ()), " ".join(doc.tags or ())) for doc in data.documents("test")]


FOUND = [("王|小|在|北", "B-PER I-PER O B-LOC"), ("天|气", "O O")]


@pytest.mark.parametrize("name", ["t.txt", "t.train", "t.conll", "t"])
@pytest.mark.parametrize("format", [None, "text", "conll"])
def test_tokens_and_tags(in_tmp: Path, name: str, format: Any) -> None:
    assert read(BIO, name, format=format) == FOUND
    assert read(BIO.replace(" ", "\t").rstrip(), name, format=format) == FOUND


def test_further_columns_blanks_and_heads(in_tmp: Path) -> None:
    content = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    assert read(content) == [("EU|rejects", "B-ORG O")]
    assert read("a\tO\n\tO\nb\tB-X\n") == [("a| |b", "O O B-X")]
    where = [doc.where for doc in Files(test="t.txt", kind="tagging").documents("test")]
    assert where == ["t.txt:1"]


def test_words_with_blanks_stay_words(in_tmp: Path) -> None:
    assert read("共同  创造\n的  B\n") == [("", ""), ("", "")]  # without tags of their own


def test_a_line_without_a_tag_is_named(in_tmp: Path) -> None:
    with pytest.raises(UserError, match=r"t.conll:2: one column; a line is a token and its tag"):
        read("a O\nb\n", "t.conll")


def test_tags_that_are_numbers(in_tmp: Path) -> None:
    lines = '{"tokens": ["EU", "x"], "ner_tags": [1, 0]}\n'
    columns = {"tags": "ner_tags"}
    with pytest.raises(UserError) as caught:
        read(lines, "t.jsonl", columns=columns)
    assert str(caught.value) == (
        "t.jsonl:1: column 'ner_tags' holds int, not text; name what they count, in its order: "
        "data.tag_names=[O,B-PER,I-PER]"
    )
    names = ["O", "B-ORG"]
    assert read(lines, "t.jsonl", columns=columns, tag_names=names) == [("EU|x", "B-ORG O")]
    with pytest.raises(UserError, match=r"t.jsonl:1: tag 1, but data.tag_names has 1, from 0"):
        read(lines, "t.jsonl", columns=columns, tag_names=["O"])


def rows(content: str, **settings: Any) -> tuple[list[str], str]:
    """Return the first row's tokens as text, and the tokenizer that was chosen."""
    Path("t.txt").write_text(content)
    data = Files("t.txt", "t.txt", kind="tagging", **settings)
    first = data.splits()["train"][0]["tokens"].tolist()
    return [data.tokenizer_.decode([token]) for token in first], data.chosen_tokenizer


def test_single_characters_and_words_get_a_token_each(in_tmp: Path) -> None:
    with pytest.warns(UserWarning, match=r"data.tokenizer=chars, a token a character, for what"):
        assert rows(BIO * 2) == (list("王小在北"), "chars")
    content = "Ann B-PER\nsaw O\nRome B-LOC\n\n" * 2
    with pytest.warns(UserWarning, match=r"data.tokenizer=words, a token a word, for what"):
        assert rows(content) == (["Ann", "saw", "Rome"], "words")
    assert rows(content, tokenizer="words") == (["Ann", "saw", "Rome"], "words")
    with pytest.raises(UserError, match=r"use data.tokenizer=words, or data.token"):
        rows(content, tokenizer="bytes")


def texts(*lines: str, **settings: Any) -> Files:
    Path("t.txt").write_text("\n".join(lines * 30))
    return Files("t.txt", "t.txt", document="line", block_size=8, **settings)


def test_characters_of_chinese_and_pieces_of_other_texts(in_tmp: Path) -> None:
    data = texts("科学空间，很好 2024", "今天 ok 北京")
    with pytest.warns(UserWarning, match=r"data.tokenizer=chars"):
        data.splits()
    assert data.tokenizer_.encode("科学") == [data.tokenizer_.encode(c)[0] for c in "科学"]
    for content, settings in (("some English, 空间 in it", {}), ("科学空间", {"tokenizer": "bpe"})):
        data = texts(content, **settings)
        data.splits()
        assert data.chosen_tokenizer == "bpe"
