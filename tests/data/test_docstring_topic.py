from collections import Counter
from pathlib import Path

import pytest
import torch

from suexp.data import corpus
from suexp.data.docstring_topic import AREA_OF, AREAS, DocstringTopic


@pytest.fixture(scope="module")
def data() -> DocstringTopic:
    return DocstringTopic()


@pytest.mark.slow
def test_nine_balanced_classes(data: DocstringTopic) -> None:
    assert data.label_names == sorted(AREAS)
    assert data.sizes == {"vocab_size": 2048, "num_classes": 9}
    train = Counter(doc.label for doc in data.documents("train"))
    validation = Counter(doc.label for doc in data.documents("validation"))
    total = sum(train.values()) + sum(validation.values())
    assert 3500 < total < 8000
    for area in AREAS:
        count = train[area] + validation[area]
        assert 0.03 < count / total < 0.25
        assert validation[area] / count == pytest.approx(0.2, abs=0.1)


def test_each_docstring_once_and_on_one_side(data: DocstringTopic) -> None:
    train = [doc.key for doc in data.documents("train")]
    validation = [doc.key for doc in data.documents("validation")]
    assert len(set(train + validation)) == len(train) + len(validation)


def test_label_is_the_area_of_the_module(data: DocstringTopic) -> None:
    docstrings = set(corpus.docstrings())
    for doc in data.documents("validation"):
        assert (doc.where, doc.text) in docstrings
        assert AREA_OF[Path(doc.where).parts[0].removesuffix(".py")] == doc.label
    assert AREA_OF["email"] == "mail"
    assert AREA_OF["_pydecimal"] == "numbers"
    modules = [module for area in AREAS.values() for module in area.split()]
    assert len(modules) == len(set(modules))


def test_batch(data: DocstringTopic) -> None:
    rows = data.splits()["validation"].__getitems__(list(range(50)))
    batch = data.collate(rows)
    longest = max(len(row["tokens"]) for row in rows)
    assert batch["tokens"].shape == batch["keep"].shape == (50, longest)
    assert longest <= 64
    torch.testing.assert_close(batch["keep"], batch["tokens"] != data.tokenizer_.pad_id)
    docs = list(data.documents("validation"))[:50]
    assert [data.label_names[i] for i in batch["label"]] == [doc.label for doc in docs]
    for doc, tokens in zip(docs, batch["tokens"], strict=True):
        text = data.tokenizer_.decode(tokens.tolist())
        assert doc.text.startswith(text.rstrip("\ufffd"))
