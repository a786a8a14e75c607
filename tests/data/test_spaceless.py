import pytest
import torch

from suexp.data.spaceless import Spaceless


def test_splits_share_no_clause() -> None:
    data = Spaceless()
    splits = {name: [doc.text for doc in data.documents(name)] for name in data.split_names}
    assert 500 < len(splits["test"]) < 1500
    assert 200 < len(splits["validation"]) < 800
    assert len(splits["train"]) > 7000
    everything = [text for texts in splits.values() for text in texts]
    assert len(set(everything)) == len(everything)
    assert all(4 <= len(text.split()) <= 16 for text in everything)
    assert all(text.replace(" ", "").isalpha() and text.islower() for text in everything)


@pytest.mark.slow
def test_rows_are_letters_and_where_the_spaces_were() -> None:
    data = Spaceless()
    assert data.label_names == ["B", "E", "I", "S"]
    # The blank, one unknown letter, three special tokens.
    assert data.sizes == {"vocab_size": 26 + 1 + 1 + 3, "num_labels": 4}
    rows = data.splits()["test"].__getitems__(list(range(40)))
    batch = data.collate(rows)
    torch.testing.assert_close(batch["keep"], batch["tags"] != -100)
    torch.testing.assert_close(batch["keep"], batch["tokens"] != data.tokenizer_.pad_id)
    docs = list(data.documents("test"))[:40]
    for doc, tokens, tags in zip(docs, batch["tokens"], batch["tags"], strict=True):
        letters = data.tokenizer_.decode(tokens.tolist())
        assert letters == doc.text.replace(" ", "")
        marks = [data.label_names[i] for i in tags.tolist() if i != -100]
        spaced = "".join(
            letter + (" " if mark in "SE" else "")
            for letter, mark in zip(letters, marks, strict=True)
        )
        assert spaced.strip() == doc.text


def test_long_clauses_are_left_out_not_cut() -> None:
    data = Spaceless(block_size=30)
    texts = [doc.text for doc in data.documents("train")]
    assert 2000 < len(texts) < 9000
    assert max(len(text.replace(" ", "")) for text in texts) == 30
    assert set(texts) < {doc.text for doc in Spaceless().documents("train")}
