"""Rows that other runs make: who chooses what, and what is refused."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.config.compose import resolve
from suexp.config.quoting import readable
from suexp.data.docstring_extract import DocstringExtract
from suexp.data.docstring_summary import DocstringSummary
from suexp.data.extracted import Extracted
from suexp.errors import UserError
from suexp.job.build import trained
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny


class Extractor:
    """Stands for a trained run: every place has the probability that it is given."""

    def __init__(self, *places: int, **settings: Any) -> None:
        self.data, self.places = DocstringExtract(**settings), places

    def probabilities(self, numbers: list[int]) -> Any:
        for number in numbers:
            p = torch.full((len(self.data.documents[number].sentences),), 0.1)
            p[[*self.places]] = 0.9
            yield number, p

    def chosen(self, p: torch.Tensor) -> list[int]:
        return (p > 0.4).nonzero().flatten().tolist()


def extractors(**changes: Any) -> dict[str, Any]:
    """The one chooses the first sentence, the other the last, and both the third."""
    return {
        "fold_0": Extractor(0, 2, fold=0, **changes),
        "fold_1": Extractor(2, -1, fold=1, **changes),
    }


def made(**settings: Any) -> Any:
    data = Extracted(tokenizer="bytes", **settings)
    data.adopt(extractors())
    return data


EVERY = DocstringExtract().documents
KNOWN = {(document.where, document.summary): number for number, document in enumerate(EVERY)}


def chosen(data: Extracted, split: str) -> Iterator[tuple[int, str]]:
    """Give the number of each row's document, and the text that was chosen."""
    for doc in data.documents(split):
        heading, _, text = doc.text.partition("\n")
        assert heading == doc.where
        yield KNOWN[doc.where, doc.other or ""], text


def text_of(number: int, places: Iterable[int]) -> str:
    return " ".join(EVERY[number].sentences[place] for place in sorted({*places}))


def test_documents_have_names_of_their_own() -> None:
    assert len(KNOWN) == len(EVERY)


def test_a_fold_is_extracted_by_the_run_that_has_not_seen_it() -> None:
    folds = [{*DocstringExtract(fold=fold).numbers("train")} for fold in (0, 1)]
    found = dict(chosen(made(train_on="extracted"), "train"))
    assert sorted(found) == DocstringExtract().numbers("train")
    for number, text in found.items():
        unseen = [number not in fold for fold in folds]
        assert sum(unseen) == 1
        last = len(EVERY[number].sentences) - 1
        assert text == text_of(number, [0, 2] if unseen[0] else [2, last])


def test_held_out_documents_are_extracted_by_all() -> None:
    """The mean is .5 at both ends, .9 at the third sentence."""
    found = dict(chosen(made(), "validation"))
    assert sorted(found) == DocstringExtract().numbers("validation")
    for number, text in found.items():
        assert text == text_of(number, [0, 2, len(EVERY[number].sentences) - 1])


def test_gold_rows_are_the_labelled_sentences() -> None:
    gold = made(train_on="gold")
    for number, text in chosen(gold, "train"):
        labels = EVERY[number].labels
        assert text == text_of(number, [place for place, label in enumerate(labels) if label])
    both, one = ([*made(train_on=on).documents("train")] for on in ("both", "extracted"))
    assert both[::2] == one
    assert both[1::2] == [*gold.documents("train")]
    for data in (gold, made(train_on="extracted")):
        assert [*data.documents("validation")] == [*made().documents("validation")]


def test_without_folds_sources_are_whole_documents() -> None:
    data = made(folds=0)
    for split in ("train", "validation"):
        found = dict(chosen(data, split))
        assert sorted(found) == DocstringExtract().numbers(split)
        assert all(text == " ".join(EVERY[number].sentences) for number, text in found.items())


def test_what_is_chosen_is_part_of_the_fingerprint() -> None:
    data, other = made(), Extracted(tokenizer="bytes")
    before = other.fingerprint()
    assert data.fingerprint() == made().fingerprint() != before
    other.adopt(extractors() | {"fold_1": Extractor(1, fold=1)})
    assert other.fingerprint() not in (data.fingerprint(), before)


@pytest.mark.slow
def test_the_tokenizer_is_that_of_docstring_summary() -> None:
    data, other = Extracted(folds=0), DocstringSummary(val_fraction=0.3)
    assert data.tokenizer_.token_bytes == other.tokenizer_.token_bytes


@pytest.mark.parametrize(
    ("settings", "origins", "line"),
    [
        ({}, {}, r"data.folds=2 needs a run sources.fold_0: task=sentence_extraction"),
        ({"folds": 3}, extractors(), r"sources.fold_0 has data.folds=2; let it have 3"),
        ({"val_fraction": 0.2}, extractors(), "sources.fold_0 has data.val_fraction=0.3"),
        ({"max_sentences": 9}, extractors(), "has data.max_sentences=32; let it have 9"),
        ({}, extractors() | {"fold_1": Extractor(fold=0)}, "sources.fold_1 has data.fold=0"),
        ({}, {"fold_0": torch.nn.Identity()}, "sources.fold_0 extracts no sentences; let it have"),
    ],
)
def test_sources_that_do_not_fit(settings: Any, origins: Any, line: str) -> None:
    with pytest.raises(UserError, match=line):
        Extracted(**settings).adopt(origins)


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only a run has rows, once its sources have ended"):
        next(iter(Extracted().documents("train")))
    with pytest.raises(ValueError, match=r"data\.folds 1"):
        Extracted(folds=1)
    with pytest.raises(UserError, match=r"data=extracted needs sources\.fold_0: each fold"):
        resolve(["task=seq2seq", "data=extracted"])


def fold(number: int) -> str:
    own = f"task=sentence_extraction,data=docstring_extract,model=dgcnn_tagger,data.fold={number}"
    return f"fold_{number}:[{own},model.dim=8,trainer.max_steps=1]"


@pytest.mark.slow
def test_a_run_reads_what_its_sources_extract(tmp_path: Path) -> None:
    sources = readable(f"sources={{{fold(0)},{fold(1)}}}")
    small = ["task=seq2seq", "data=extracted", "data.block_size=256", "data.tokenizer=bytes"]
    small += ["data.truncate=true", "task.generate_rows=0", "trainer.limit_val_batches=1"]
    overrides = [item for item in tiny(tmp_path) if not item.startswith(("data", "task"))]
    spec = spec_of([*overrides, *small, sources, "trainer.max_steps=1"])
    assert [*spec.origins] == ["fold_0", "fold_1"]
    summary = execute(spec)
    assert summary.finished, summary.error
    assert summary.fingerprint != Run(spec).spec.identity.data
    assert all(Run(origin).finished for origin in spec.origins.values())

    again = trained(Run(spec))  # as another run would start from it
    assert again.data.fingerprint() == summary.fingerprint
    assert len(again.data.splits()["train"]) == summary.rows["train"]
