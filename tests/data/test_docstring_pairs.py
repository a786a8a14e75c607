import sys

import pytest

from suexp.data import corpus
from suexp.data.docstring_pairs import DocstringPairs, halves


def test_summary_ends_with_its_sentence_or_paragraph() -> None:
    assert halves("Do it.\n\n  All of\n  it.") == ("Do it.", "All of it.")
    assert halves("Do it. And more\nof it.") == ("Do it.", "And more of it.")
    assert halves("Do it\n\nAnd more.") == ("Do it", "And more.")
    assert halves("Do it, e.g. now, v1.2. And more.") == ("Do it, e.g. now, v1.2.", "And more.")
    assert halves("Do it") == ("Do it", "")


def test_pairs_are_unique_and_split_by_their_content() -> None:
    data = DocstringPairs()
    splits = {name: list(data.documents(name)) for name in ("train", "validation")}
    pairs = [doc for docs in splits.values() for doc in docs]
    assert len({doc.text for doc in pairs}) == len({doc.other for doc in pairs}) == len(pairs)
    texts = {text for _, text in corpus.docstrings()}
    assert len(pairs) < len(texts)
    assert 0.19 < len(splits["validation"]) / len(pairs) < 0.25
    if sys.version_info[:2] == (3, 11):
        assert len(pairs) == pytest.approx(2838, rel=0.02)


@pytest.mark.slow
def test_batches_hold_both_texts() -> None:
    data = DocstringPairs(block_size=16)
    rows = data.splits()["validation"]
    batch = data.collate([rows[i] for i in range(5)])
    assert set(batch) == {"tokens_a", "keep_a", "tokens_b", "keep_b"}
    document = next(iter(data.documents("validation")))
    for side, text in (("a", document.text), ("b", document.other)):
        tokens, keep = batch[f"tokens_{side}"], batch[f"keep_{side}"]
        assert tokens.shape == keep.shape == (5, max(tokens.shape[1], 1))
        assert tokens.shape[1] <= 16
        ids = tokens[0][keep[0]].tolist()
        assert text is not None
        assert text.startswith(data.tokenizer_.decode(ids))
        assert (tokens[~keep] == data.tokenizer_.pad_id).all()
