"""Words with the words around them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from suexp.data.ngram_bags import NgramBags, words_of
from suexp.errors import UserError

TEXTS = ["a b a c", "b a d", "c c b", "a a b", "d b", "c a b b", "a d", "d c d b", "b d a"]


def corpus(folder: Path, texts: list[str] = TEXTS) -> Path:
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def small(folder: Path, **arguments: object) -> NgramBags:
    return NgramBags(str(corpus(folder)), window=2, **arguments)  # type: ignore[arg-type]


def by_hand(data: NgramBags, split: str) -> list[tuple[list[int], int]]:
    """Sorted context and word, one after another."""
    number = {word: i for i, word in enumerate(data.words)}
    found = []
    for doc in data.documents(split):
        text = [number.get(word, -1) for word in words_of(doc.text)]
        for at, word in enumerate(text):
            context = text[max(at - 2, 0) : at] + text[at + 1 : at + 3]
            if word >= 0:
                found.append((context, word))
    return found


@pytest.mark.parametrize("vocab_size", [20, 2])
def test_bags_are_those_made_by_hand(vocab_size: int, tmp_path: Path) -> None:
    data = small(tmp_path, vocab_size=vocab_size)
    known = len(data.words)
    assert known == min(vocab_size, 4)
    for split, rows in data.splits().items():
        batch = data.collate(rows.__getitems__(list(range(len(rows)))))
        wanted = by_hand(data, split)
        assert len(rows) == len(wanted) > 0
        counts = torch.zeros(known, known)
        for places, keep, weight, (context, word) in zip(
            batch["places"], batch["keep"], batch["weight"], wanted, strict=True
        ):
            seen = sorted({x for x in context if x >= 0})  # a set: once each
            assert places[keep].tolist() == [*seen, known + word]
            share = torch.tensor(data.frequencies[[*seen, word]])
            torch.testing.assert_close(
                weight[keep].double(), 1 / (known * share), rtol=1e-5, atol=0
            )
            assert (weight[~keep] == 0).all()
            for other in context:
                if other >= 0:
                    counts[word, other] += 1
        np.testing.assert_array_equal(data.context_counts(split).toarray(), counts.numpy())


def test_the_most_frequent_words_are_known(tmp_path: Path) -> None:
    data = small(tmp_path)
    texts = [words_of(doc.text) for doc in data.documents("train")]
    words = [word for text in texts for word in text]
    assert data.facts["counts"] == [words.count(word) for word in data.words]
    assert data.facts["counts"] == sorted(data.facts["counts"], reverse=True)
    assert data.frequencies.sum() == pytest.approx(1)
    assert data.sizes == {"input_dim": 2 * len(data.words)}


def test_a_word_that_is_not_known_is_named(tmp_path: Path) -> None:
    data = small(tmp_path)
    assert data.numbers(["a", data.words[-1]]) == [data.words.index("a"), len(data.words) - 1]
    with pytest.raises(KeyError, match="'fly' is not among the 4 known words"):
        data.numbers(["a", "fly"])


def test_fewer_rows_on_demand(tmp_path: Path) -> None:
    whole, part = small(tmp_path), small(tmp_path, max_rows=3)
    assert len(part.splits()["train"]) == 3 < len(whole.splits()["train"])
    assert len(part.splits()["validation"]) == len(whole.splits()["validation"])
    np.testing.assert_array_equal(
        np.stack(part.splits()["train"][:]["gram"]), np.stack(whole.splits()["train"][:3]["gram"])
    )


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.window must be at least 1, not 0"):
        NgramBags(window=0)
    with pytest.raises(ValueError, match=r"val_fraction must be between 0 and 1, not 1"):
        NgramBags(val_fraction=1)
    with pytest.raises(UserError, match=r"data.path: no file"):
        NgramBags(str(tmp_path / "none.txt")).splits()
    with pytest.raises(UserError, match="no column 'sentence'"):
        NgramBags(str(corpus(tmp_path)), column="sentence").splits()
    with pytest.raises(UserError, match=r"no known word in the (train|validation) split"):
        NgramBags(str(corpus(tmp_path, ["1 2"]))).splits()


def test_the_embedded_text_needs_no_download() -> None:
    data = NgramBags(max_rows=1000, window=1)
    assert len(data.splits()["train"]) == 1000
    assert len(data.words) == 2000
    assert {"the", "socket", "int", "string"} < set(data.words)


@pytest.mark.slow
def test_real_texts(shared_data: Path) -> None:
    play = NgramBags(str(shared_data / "tinyshakespeare" / "input.txt"))
    assert play.words[:2] == ["the", "and"]
    apps = NgramBags(str(shared_data / "iflytek" / "dev_few_all.json"), column="sentence")
    assert "的" in apps.words[:5]
    assert len(apps.splits()["train"]) > 100_000
