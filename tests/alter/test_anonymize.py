"""Secret numbers: a permutation of the words, given out by frequency."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suexp.alter import Anonymize
from suexp.alter._altered import Altered
from suexp.alter.anonymize import renumbered
from suexp.config.compose import resolve
from suexp.data.files import Files
from suexp.data.frequencies import frequencies
from suexp.data.pairs_prose import PairsProse
from suexp.data.pydoc import PyDoc
from suexp.errors import UserError
from suexp.job.build import data_of


def prose(**settings: Any) -> PairsProse:
    return PairsProse(**{"num_train": 300, "num_validation": 100, "vocab_size": 400, **settings})


def files(text: str, **settings: Any) -> Files:
    Path("t.tsv").write_text(text)
    columns: dict[str, str | int] = {"text": 0, "other": 1}
    return Files(
        train="t.tsv",
        validation="t.tsv",
        kind="pairs",
        tokenizer="words",
        header=False,
        columns=columns,
        **settings,
    )


def test_numbers_by_falling_frequency_ties_by_the_permutation() -> None:
    counts = np.array([5, 9, 5, 2, 77])
    tokens = np.array([0, 1, 2, 3])  # the last one is special
    found = [renumbered(counts, tokens, np.random.default_rng(s)).tolist() for s in range(20)]
    assert {tuple(x) for x in found} == {(1, 0, 2, 3, 4), (2, 0, 1, 3, 4)}


def test_rows_are_renamed_and_nothing_else() -> None:
    plain, data = prose(), Altered(prose(), [Anonymize(min_count=1)])
    before, after = (frequencies(x) for x in (plain, data))
    ordinary = data.tokenizer_.ordinary
    assert sorted(before[ordinary]) == sorted(after[ordinary])
    assert (np.diff(after[ordinary]) <= 0).all()
    assert not (np.diff(before[ordinary]) <= 0).all()
    specials = [x for x in range(len(before)) if x not in ordinary]
    assert before[specials].tolist() == after[specials].tolist()
    a, b = (x.collate(x.splits()["train"].__getitems__([3, 8, 5])) for x in (plain, data))
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].equal(b[name]) == (not name.startswith("tokens")), name
    # One map for all splits, columns and rows: what is equal stays equal, and the oracle knows it.
    names = data.tokenizer_.opened()
    for name in ("tokens_a", "tokens_b"):
        for x, y in zip(a[name].flatten().tolist(), b[name].flatten().tolist(), strict=True):
            assert names[y] == (plain.tokenizer_.token_bytes[x] if x in ordinary else b"")


def test_distinct_frequencies_leave_nothing_to_the_seed(in_tmp: Path) -> None:
    distinct = "\n".join(["a b c d\ta b c", "a b\ta", "c\td", "a a\tb"])
    rows = []
    for seed in range(5):
        data = Altered(files(distinct), [Anonymize(seed, min_count=1)])
        rows.append([row.tolist() for row in data.splits()["train"]["tokens_a"]])
    assert rows == rows[:1] * 5
    assert rows[0] == [[0, 1, 2, 3], [0, 1], [2], [0, 0]]
    tied = {
        tuple(Altered(files("a b\ta b"), [Anonymize(s, 1)]).tokenizer_.opened()[:2])
        for s in range(9)
    }
    assert tied == {(b"a", b"b"), (b"b", b"a")}


def test_rare_words_are_the_unknown_one() -> None:
    data = Altered(prose(), [Anonymize()])
    counts, tokenizer = frequencies(data), data.tokenizer_
    assert counts[tokenizer.ordinary].min() == 0
    used = counts[tokenizer.ordinary]
    assert used[used > 0].min() >= 5
    plain = frequencies(prose())
    rare = plain[prose().tokenizer_.ordinary]
    gained = counts[tokenizer.unknown_id] - plain[tokenizer.unknown_id]
    assert gained == rare[rare < 5].sum() > 0


def test_nobody_reads_the_text() -> None:
    data = Altered(prose(), [Anonymize()])
    tokenizer = data.tokenizer_
    for look in (
        lambda: tokenizer.decode([1]),
        lambda: tokenizer.encode("a"),
        lambda: tokenizer.token_bytes,
    ):
        with pytest.raises(UserError, match="anonymised data has no text"):
            look()
    assert tokenizer.reserved == prose().tokenizer_.reserved
    assert tokenizer.special == prose().tokenizer_.special


def test_packed_text_has_secret_numbers_too() -> None:
    settings: dict[str, Any] = {"tokenizer": "bytes", "block_size": 16, "max_bytes": 5000}
    plain = PyDoc(**settings)
    data = Altered(plain, [Anonymize(min_count=1)])
    a, b = (x.splits()["train"]["tokens"] for x in (plain, data))
    assert np.asarray(a).shape == np.asarray(b).shape
    assert data.tokenizer_.opened()[0] == b" "
    assert sorted(np.bincount(np.ravel(a))) == pytest.approx(sorted(np.bincount(np.ravel(b))))


def test_its_arguments_are_in_the_fingerprint() -> None:
    kinds = [Altered(prose(), [Anonymize(**x)]) for x in ({}, {"seed": 1}, {"min_count": 2})]
    before = [x.fingerprint() for x in kinds]
    assert len({*before, prose().fingerprint()}) == 4
    kinds[0].splits()
    assert kinds[0].fingerprint() == before[0]  # what it has found is no argument


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["alter.anonymize.min_count=0"], "min_count"),
        (["data=digits", "task=classification", "model=mlp"], "alter=anonymize needs text"),
        (["task=seq2seq", "data=docstring_summary"], "anonymised data has no text that could be"),
    ],
)
def test_mistakes(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        data_of(resolve(["task=pair_mlm", "alter=anonymize", *overrides]).config)


def test_rare_tokens_of_a_tokenizer_without_an_unknown_one() -> None:
    data = Altered(prose(tokenizer="bytes"), [Anonymize()])
    with pytest.raises(UserError, match=r"set data\.tokenizer=words or chars, or alter\.anony"):
        data.splits()
