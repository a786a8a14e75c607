"""Words and functions of them: what a text holds, and what is held out."""

from typing import Any

import numpy as np
import pytest

from suexp.data.word_functions import FUNCTIONS, WordFunctions


@pytest.fixture(scope="module")
def data() -> WordFunctions:
    return WordFunctions(num_train=200, num_validation=50)


def test_the_functions_by_hand() -> None:
    found = {name: function("bird") for name, function in FUNCTIONS.items()}
    assert found == {
        "first": "b",
        "second": "i",
        "third": "r",
        "last": "d",
        "upper": "B",
        "next": "c",
        "vowels": "1",
        "last_first": "db",
    }
    assert (FUNCTIONS["next"]("zone"), FUNCTIONS["vowels"]("aeon")) == ("a", "3")


def test_no_word_is_in_both_splits(data: WordFunctions) -> None:
    train, validation = (set(data.words(split)) for split in ("train", "validation"))
    assert not train & validation
    assert len(train | validation) > 500
    assert len(validation) / len(train | validation) == pytest.approx(0.2, abs=0.05)
    for split, words in (("train", train), ("validation", validation)):
        for doc in data.documents(split):
            assert {line[:4] for line in doc.text.split("\n")[:-1]} <= words


def test_each_text_has_one_function(data: WordFunctions) -> None:
    seen = set()
    for doc in data.documents("train"):
        assert len(doc.text) == 55
        lines = doc.text.split("\n")[:-1]
        assert len(lines) >= 6
        pairs = [line.split(">") for line in lines]
        fits = [n for n, f in FUNCTIONS.items() if all(f(x) == y for x, y in pairs)]
        assert fits
        seen |= {*fits} if len(fits) == 1 else set()
    assert seen == set(FUNCTIONS)


@pytest.mark.parametrize("kind", ["bytes", "chars"])
def test_a_row_is_a_text_between_two_ends(kind: str) -> None:
    data = WordFunctions(num_train=20, num_validation=10, tokenizer=kind)
    for split, count in (("train", 20), ("validation", 10)):
        rows = data.splits()[split]
        assert len(rows) == count
        tokens = data.collate(rows.__getitems__(list(range(count))))["tokens"].numpy()
        assert tokens.shape == (count, 57)
        end = data.tokenizer_.eot_id
        assert np.all(tokens[:, [0, -1]] == end)
        assert not np.any(tokens[:, 1:-1] == end)
        texts = [data.tokenizer_.decode(row) for row in tokens.tolist()]
        if kind == "bytes":
            assert texts == [doc.text for doc in data.documents(split)]
            assert data.bytes_per_token(split) == pytest.approx(55 / 56)


def test_skills_are_held_out_words_and_all_they_might_become(data: WordFunctions) -> None:
    skills = data.skills()
    assert [skill.name for skill in skills] == list(FUNCTIONS)
    words = data.words("validation")
    for skill in skills:
        assert [example.text for example in skill.queries] == words
        for example in skill.examples:
            assert example.answer == FUNCTIONS[skill.name](example.text)
            assert example.answer in example.candidates
            assert len(set(example.candidates)) == len(example.candidates) <= 8


def test_the_draws_depend_on_their_seed_alone(data: WordFunctions) -> None:
    texts = [doc.text for doc in data.documents("train")]
    assert texts == [doc.text for doc in data.documents("train")]
    other = WordFunctions(num_train=200, seed=1)
    assert texts != [doc.text for doc in other.documents("train")]
    assert data.fingerprint() != other.fingerprint()
    assert len({WordFunctions(letters=n).fingerprint() for n in (3, 4, 5)}) == 3


def test_mistakes() -> None:
    mistakes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"functions": ["fist"]}, r"data\.functions: 'fist' is none of first, second"),
        ({"functions": []}, r"data\.functions names none"),
        ({"letters": 2}, r"data\.letters must be at least 3"),
        ({"tokenizer": "bpe"}, r"data\.tokenizer is 'bpe'; use one of bytes, chars"),
        ({"num_train": 0}, r"data\.num_train must be at least 1"),
    )
    for arguments, line in mistakes:
        with pytest.raises(ValueError, match=line):
            WordFunctions(**arguments)
