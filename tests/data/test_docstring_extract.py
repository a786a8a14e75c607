"""Documents whose sentences are to be extracted: what a row says, and what is apart."""

from collections import Counter

import numpy as np
import pytest
import torch

from suexp.data.docstring_extract import DocstringExtract, sentences_of
from suexp.data.docstring_summary import DocstringSummary
from suexp.nn.overlap import units


@pytest.fixture(scope="module")
def data() -> DocstringExtract:
    return DocstringExtract()


def test_sentences_of_a_text() -> None:
    text = "Do it now, e.g. with\ncare. Two ways:\n\n  this; or that\n\n---\n\nDone!"
    assert sentences_of(text) == [
        "Do it now, e.g. with care.",
        "Two ways:",
        "this;",
        "or that",
        "Done!",
    ]


def test_documents_are_real(data: DocstringExtract) -> None:
    assert 500 < len(data.documents) < 1500
    for document in data.documents:
        assert 5 <= len(document.sentences) == len(document.labels) <= 32
        assert {*document.labels} <= {0, 1}
        assert 1 <= sum(document.labels) <= len(sentences_of(document.summary))


def test_the_splits_are_those_of_the_summaries(data: DocstringExtract) -> None:
    train, held_out = ({*data.numbers(split)} for split in ("train", "validation"))
    assert not train & held_out
    assert train | held_out == {*range(len(data.documents))}
    other = DocstringSummary(val_fraction=0.3).documents("validation")
    summaries = {doc.other for doc in other}
    assert {data.documents[number].summary for number in held_out} <= summaries


def test_folds_part_the_training_split(data: DocstringExtract) -> None:
    folds = [DocstringExtract(folds=3, fold=fold) for fold in range(3)]
    everything = {*data.numbers("train")}
    left_out = [everything - {*fold.numbers("train")} for fold in folds]
    assert sorted(number for part in left_out for number in part) == sorted(everything)
    assert min(map(len, left_out)) > len(everything) / 5
    for fold in folds:
        assert fold.numbers("validation") == data.numbers("validation")
    assert len({fold.fingerprint() for fold in [data, *folds]}) == 4


def test_a_batch_counts_words(data: DocstringExtract) -> None:
    rows = data.splits()["validation"].__getitems__(list(range(20)))
    batch = data.collate(rows)
    assert batch["x"].dtype == torch.float32
    assert batch["x"].shape[-1] == data.sizes["input_dim"] == 512
    for x, keep, label, number in zip(
        *(batch[n] for n in ("x", "keep", "label", "document")), strict=True
    ):
        document = data.documents[int(number)]
        assert int(keep.sum()) == len(document.sentences)
        assert label[keep].tolist() == [*document.labels]
        assert not x[~keep].any()
        for vector, sentence in zip(x[keep], document.sentences, strict=True):
            counts = [*Counter(units(sentence, "alphanumeric")).values()]
            assert float(vector.norm()) == pytest.approx(min(len(counts), 1), abs=1e-6)
            if int((vector > 0).sum()) == len(counts):  # no two words share a place
                expected = np.sort(counts) / np.linalg.norm(counts)
                assert sorted(vector[vector > 0].tolist()) == pytest.approx(expected, abs=1e-6)


def test_equal_sentences_have_equal_vectors_wherever_they_stand(data: DocstringExtract) -> None:
    found = data._places(["Nothing else.", "else, nothing"]) % 512
    assert sorted(found[:2]) == sorted(found[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fold": 2}, "data.fold 2 must be from 0 to data.folds - 1 = 1"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"val_fraction": 1}, "val_fraction must be between 0 and 1, not 1"),
        ({"min_sentences": 0}, "min_sentences must be at least 1"),
    ],
)
def test_mistakes(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DocstringExtract(**arguments)
