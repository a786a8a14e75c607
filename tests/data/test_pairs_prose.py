"""Windows of real prose, half of which match."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from suexp.data.pairs_prose import PairsProse


def pairs(**settings: Any) -> PairsProse:
    return PairsProse(**{"num_train": 2000, "num_validation": 200, **settings})


def overlap(doc: Any) -> int:
    words = Counter(doc.text.split()) & Counter(doc.other.split())
    return sum(words.values())


def test_a_matching_text_keeps_six_tenths_of_the_words_in_another_order() -> None:
    found = [*pairs().documents("train")]
    match = [doc for doc in found if doc.label == 1]
    other = [doc for doc in found if doc.label == 0]
    assert len(match) / 2000 == pytest.approx(0.5, abs=0.05)
    assert {len(doc.text.split()) for doc in found} == {len(d.other.split()) for d in found} == {8}
    # 0.6 * 8 words stay, and a drawn word may be one of the text's.
    assert 4.8 < np.mean([overlap(doc) for doc in match]) < 5.4
    assert np.mean([overlap(doc) for doc in other]) < 1.5
    exact = [*pairs(replace=0.0).documents("train")]
    assert all(overlap(doc) == 8 for doc in exact if doc.label == 1)
    assert np.mean([doc.text == doc.other for doc in exact if doc.label == 1]) < 0.01


def test_splits_and_parts_have_no_window_in_common() -> None:
    windows = {}
    for part in ("plain", "secret"):
        data = pairs(part=part)
        for split in ("train", "validation"):
            texts = data._texts(split)
            windows[part, split] = {
                " ".join(text[i : i + 8]) for text in texts for i in range(len(text) - 7)
            }
    keys = [*windows]
    for i, a in enumerate(keys):
        for b in keys[:i]:  # phrases repeat, documents do not
            assert len(windows[a] & windows[b]) < 0.03 * min(len(windows[a]), len(windows[b]))
    drawn = {doc.text for doc in pairs(part="plain").documents("train")}
    assert drawn <= windows["plain", "train"]


def test_labels_of_the_first_rows_alone() -> None:
    data = pairs(num_labeled=30)
    rows = data.splits()["train"]
    batch = data.collate(rows.__getitems__(list(range(60))))
    assert batch["labelled"].tolist() == [True] * 30 + [False] * 30
    assert not batch["match"][30:].any()
    held = data.collate(data.splits()["validation"].__getitems__(list(range(200))))
    assert held["labelled"].all()
    assert batch["tokens_a"].shape == (60, 9)
    assert set(batch["tokens_a"][:, 0].tolist()) == {*data.tokenizer_.begin}
    # Pairs do not depend on how many have a label, nor words on how many pairs there are.
    assert [d.text for d in data.documents("train")] == [d.text for d in pairs().documents("train")]
    assert pairs(num_train=50).sizes == data.sizes


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"part": "half"}, "data.part is 'half'; use one of all, plain, secret"),
        ({"replace": 1.5}, r"data.replace must lie in \[0, 1\], not 1.5"),
        ({"window": 0}, "data.window"),
    ],
)
def test_mistakes(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        pairs(**settings)
