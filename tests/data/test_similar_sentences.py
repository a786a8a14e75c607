"""Similar sentences of the standard library: what is a pair, and what is held out."""

import re

import pytest

from suexp.data.similar_sentences import (
    LONGEST,
    SHORTEST,
    SimilarSentences,
    _lines,
    sentences,
    similar,
    split,
)
from suexp.errors import UserError


def jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)


def is_pair(a: str, b: str, low: float = 0.4, high: float = 0.95, words: float = 0.5) -> bool:
    """By the definition, one pair at a time."""
    a, b = a.lower(), b.lower()
    trigrams = jaccard(*({x[i : i + 3] for i in range(len(x) - 2)} for x in (a, b)))
    bags = jaccard(*(set(re.findall(r"[^\W_]+", x)) for x in (a, b)))
    return low <= trigrams < high and bags >= words


@pytest.fixture(scope="module")
def data() -> SimilarSentences:
    return SimilarSentences(tokenizer="bytes", block_size=120)


@pytest.mark.parametrize("limits", [(0.4, 0.95, 0.5), (0.2, 0.5, 0.0), (0.6, 1.0, 0.9)])
def test_pairs_are_those_of_the_definition(limits: tuple[float, float, float], monkeypatch) -> None:
    texts = max(sentences("docstrings").values(), key=lambda some: 40 <= len(some) <= 90)[:90]
    expected = [
        (i, j)
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if is_pair(texts[i], texts[j], *limits)
    ]
    assert list(similar(texts, *limits)) == expected
    monkeypatch.setattr("suexp.data.similar_sentences.BLOCK", 7)
    assert list(similar(texts, *limits)) == expected
    assert list(similar(texts[:1], *limits)) == []


def test_sentences_of_a_text() -> None:
    text = "Do it now, e.g. with\ncare. Then do it again. No.\n\n  All of it at once"
    text += "\n\n>>> x = f(1) + 2"
    assert split(text) == ["Do it now, e.g. with care.", "Then do it again.", "All of it at once"]
    assert _lines('x = 1\n"""Say that again, Sam."""\n  # Say that once more.\nif a and b:\n') == [
        "Say that once more.",
        "if a and b:",
    ]


def test_clusters_are_whole_on_one_side(data: SimilarSentences) -> None:
    sides = {name: list(data.documents(name)) for name in ("train", "validation")}
    texts = {name: {text for doc in docs for text in doc.texts} for name, docs in sides.items()}
    assert not texts["train"] & texts["validation"]
    assert not {doc.key for doc in sides["train"]} & {doc.key for doc in sides["validation"]}
    pairs = [doc for docs in sides.values() for doc in docs]
    assert len(pairs) > 1500
    clusters = {name: {doc.key for doc in docs} for name, docs in sides.items()}
    share = len(clusters["validation"]) / sum(map(len, clusters.values()))
    assert share == pytest.approx(0.17, abs=0.04)
    for doc in pairs[:: len(pairs) // 60]:
        assert is_pair(doc.text, doc.other or "")
        assert all(len(t) <= LONGEST and len(t.split()) >= SHORTEST for t in doc.texts)


def test_restored_sentences_hold_nothing_of_the_held_out_clusters(data: SimilarSentences) -> None:
    restored = SimilarSentences("seq2seq", tokenizer="bytes", block_size=300)
    train = {doc.text for doc in restored.documents("train")}
    held_out = {text for doc in data.documents("validation") for text in doc.texts}
    assert len(train) > 5000
    assert not train & held_out
    assert held_out <= {doc.text for doc in restored.documents("validation")}
    assert all(doc.other == doc.text for doc in restored.documents("validation"))
    assert data.fingerprint() != restored.fingerprint()


@pytest.mark.slow
def test_general_pairs_are_as_many_and_only_trained_on(data: SimilarSentences) -> None:
    general = SimilarSentences(general=True, tokenizer="bytes", block_size=120)
    validation = list(data.documents("validation"))
    assert list(general.documents("validation")) == validation
    plain, more = (len(list(one.documents("train"))) for one in (data, general))
    assert more == pytest.approx(2 * plain, rel=0.1)
    held_out = {text for doc in validation for text in doc.texts}
    assert not any(held_out & set(doc.texts) for doc in general.documents("train"))
    assert general.fingerprint() != data.fingerprint()


@pytest.mark.slow
def test_all_kinds_share_the_tokenizer() -> None:
    kinds = [SimilarSentences(), SimilarSentences("seq2seq"), SimilarSentences(general=True)]
    assert len({tuple(one.tokenizer_.token_bytes) for one in kinds}) == 1
    assert {one.sizes["vocab_size"] for one in kinds} == {2049}


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"min_similarity must be in \[0, 1\], not 2"):
        SimilarSentences(min_similarity=2)
    with pytest.raises(ValueError, match=r"must be below data\.max_similarity"):
        SimilarSentences(min_similarity=0.5, max_similarity=0.5)
    with pytest.raises(ValueError, match=r"use data\.kind=similar"):
        SimilarSentences("seq2seq", general=True)
    with pytest.raises(UserError, match="does not fit in a row"):
        SimilarSentences("seq2seq", tokenizer="bytes", block_size=100).splits()
