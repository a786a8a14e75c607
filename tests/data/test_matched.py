"""Sentences matched with a summary: what is known beforehand."""

import random

import pytest

from suexp.data.matched import Match, matches

TEXT = ["A cat sat.", "It slept well.", "Then a dog ran by.", "Nobody was there.", "It woke up."]


def places(text: list[str], summary: list[str]) -> list[int]:
    return [match.text for match in matches(text, summary)]


@pytest.mark.parametrize("kept", [[0], [1, 3], [0, 2, 4], [0, 1, 2, 3, 4]])
def test_a_text_s_own_sentences_are_found(kept: list[int]) -> None:
    summary = [TEXT[place] for place in kept]
    assert matches(TEXT, summary) == [Match(i, place) for i, place in enumerate(kept)]


def test_own_sentences_of_random_texts() -> None:
    rng = random.Random(0)
    for _ in range(30):
        text = ["".join(rng.choices("abcdefgh ", k=rng.randint(20, 40))) for _ in range(12)]
        kept = sorted(rng.sample(range(12), rng.randint(1, 12)))
        assert places(text, [text[place] for place in kept]) == kept


def test_matches_keep_their_order() -> None:
    """The longest sentence decides first; what stands before it looks only before its partner."""
    summary = ["It woke up.", "Then a dog came by."]
    assert places(TEXT, summary[1:]) == [2]
    assert places(TEXT, summary[:1]) == [4]
    assert places(TEXT, summary) == [1, 2]


def test_several_may_have_one_partner() -> None:
    assert places(["It rained a lot.", "x"], ["It rained.", "A lot."]) == [0, 0]


def test_nothing_matches_nothing() -> None:
    assert matches([], ["a"]) == matches(["a"], []) == []
