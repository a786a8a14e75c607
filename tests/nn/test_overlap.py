import itertools
import random

import pytest

from suexp.nn.overlap import (
    longest_common_subsequence,
    main_score,
    ngram_precision,
    rouge_l,
    rouge_n,
    units,
)


def test_longest_common_subsequence_equals_brute_force() -> None:
    rng = random.Random(0)
    for _ in range(30):
        a, b = ([rng.choice("abc") for _ in range(rng.randrange(8))] for _ in range(2))
        common = max(
            length
            for length in range(len(a) + 1)
            for part in itertools.combinations(a, length)
            if any(part == other for other in itertools.combinations(b, length))
        )
        assert longest_common_subsequence(a, b) == common


def test_rouge_l() -> None:
    """Three of four and three of six words in common: P = .75, R = .5."""
    found, reference = ["the", "cat", "sat", "down"], ["the", "black", "cat", "sat", "on", "mats"]
    assert rouge_l(found, reference) == pytest.approx(0.6)
    assert rouge_l(found, found) == 1
    assert rouge_l([], reference) == rouge_l(found, []) == rouge_l([], []) == 0


def test_rouge_n() -> None:
    """Of five and six words the common ones are a twice and b; of pairs (a, b) and (b, a)."""
    found, reference = ["a", "b", "a", "c", "a"], ["x", "a", "b", "b", "a", "y"]
    assert rouge_n(found, reference, 1) == pytest.approx(2 * 3 / 11)
    assert rouge_n(found, reference, 2) == pytest.approx(2 * 2 / 9)
    assert rouge_n(found, found, 2) == 1
    assert rouge_n([], reference, 1) == rouge_n(["a"], ["a"], 2) == 0


def test_main_score() -> None:
    """Of four words three are common, of three pairs one: .75, 1/3 and .75."""
    assert main_score([*"abcd"], [*"abxd"]) == pytest.approx(0.2 * 0.75 + 0.4 / 3 + 0.4 * 0.75)
    assert main_score([*"abcd"], [*"abcd"]) == pytest.approx(1)
    assert main_score([], ["a"]) == 0


def test_ngram_precision() -> None:
    """Of four pairs of words a b stands in the source, twice, and c d."""
    assert ngram_precision([*"abcab"], [*"xabcd"]) == 3 / 4
    assert ngram_precision([*"abcab"], [*"xabcd"], n=3) == 1 / 3
    assert ngram_precision([*"ab"], [*"ba"]) == 0
    assert ngram_precision(["a"], [*"ab"]) == 0


@pytest.mark.peer
def test_rouge_equals_rouge_score() -> None:
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(names)
    rng = random.Random(1)
    for _ in range(50):
        a, b = (
            " ".join(rng.choices(["aa", "bb", "cc", "dd", "ee"], k=rng.randint(1, 9))) for _ in "ab"
        )
        expected = [scorer.score(b, a)[name].fmeasure for name in names]
        pair = a.split(), b.split()
        ours = [rouge_n(*pair, 1), rouge_n(*pair, 2), rouge_l(*pair)]
        assert ours == pytest.approx(expected, abs=1e-9)


@pytest.mark.peer
def test_rouge_equals_rouge_that_counts_repeated_words() -> None:
    """The package rouge, by which the post judges, otherwise counts each run of words once."""
    scorer = pytest.importorskip("rouge").Rouge(exclusive=False)
    rng = random.Random(2)
    for _ in range(50):
        a, b = (" ".join(rng.choices(["aa", "bb", "cc", "dd"], k=rng.randint(2, 9))) for _ in "ab")
        (found,) = scorer.get_scores(a, b)
        expected = [found[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l")]
        pair = a.split(), b.split()
        ours = [rouge_n(*pair, 1), rouge_n(*pair, 2), rouge_l(*pair)]
        assert ours == pytest.approx(expected, abs=1e-7)  # it adds 1e-8 to the denominator


def test_units() -> None:
    assert units("Return the\nSize", "word") == ["return", "the", "size"]
    assert units("摘要 A", "character") == ["摘", "要", "a"]
    assert units("Return the size_of(x), e.g. 3.", "alphanumeric") == [
        *("return", "the", "size", "of", "x", "e", "g", "3")
    ]
