from pathlib import Path

import pytest

from suexp.data.characters import CharacterTokenizer


def test_characters_seen_once_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    CharacterTokenizer.train(["中国中", "国人民a"], 100, path)
    tokenizer = CharacterTokenizer(path)
    assert tokenizer.vocab_size == 2 + 1 + 3
    ids = tokenizer.encode("中民国x")
    assert ids == [0, tokenizer.unknown_id, 1, tokenizer.unknown_id]
    assert tokenizer.decode([*ids, tokenizer.pad_id]) == "中\ufffd国\ufffd"
    assert len(tokenizer.token_bytes) == tokenizer.vocab_size


@pytest.mark.parametrize("vocab_size", [5, 6])
def test_the_commonest_stay(tmp_path: Path, vocab_size: int) -> None:
    path = tmp_path / "t.json"
    CharacterTokenizer.train(["aabbbcc"], vocab_size, path)
    tokenizer = CharacterTokenizer(path)
    assert tokenizer.vocab_size == vocab_size
    assert tokenizer.decode(range(vocab_size - 4)) == "ba"[: vocab_size - 4]
