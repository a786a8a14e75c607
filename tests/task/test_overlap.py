import itertools
import random

import pytest

from suexp.task._overlap import longest_common_subsequence, rouge_l, units


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


@pytest.mark.peer
def test_rouge_l_equals_rouge_score() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    rng = random.Random(1)
    for _ in range(50):
        a, b = (
            " ".join(rng.choices(["aa", "bb", "cc", "dd", "ee"], k=rng.randint(1, 9))) for _ in "ab"
        )
        expected = scorer.score(b, a)["rougeL"].fmeasure
        assert rouge_l(a.split(), b.split()) == pytest.approx(expected, abs=1e-9)


def test_units() -> None:
    assert units("Return the\nSize", "word") == ["return", "the", "size"]
    assert units("摘要 A", "character") == ["摘", "要", "a"]
