"""Which sentences of a text its summary was made of, found by what they have in common."""

from collections.abc import Sequence
from typing import NamedTuple


class Match(NamedTuple):
    """Where a sentence of the summary stands, and where the text's that is most like it."""

    summary: int
    text: int


def matches(text: Sequence[str], summary: Sequence[str]) -> list[Match]:
    r"""Return a partner in the text for each sentence of the summary, in their order.

    The longest sentence of the summary takes the sentence of the text with the best
    `suexp.nn.overlap.main_score`, counted in characters; the sentences before it are matched with
    the text up to there, those after it with the text from there on, in the same way. Several may
    have one partner. Of equally long and equally good ones the first counts.

    Reference: https://kexue.fm/archives/8046, https://github.com/bojone/SPACES.

    Example:
        >>> matches(["A cat sat.", "It slept.", "A dog ran."], ["It slept!", "A dog came."])
        [Match(summary=0, text=1), Match(summary=1, text=2)]

    Args:
        text: its sentences.
        summary: its sentences.
    """
    from suexp.nn.overlap import main_score, units

    ours, theirs = ([units(sentence, "character") for sentence in part] for part in (text, summary))

    def within(first: int, last: int, start: int, end: int) -> list[Match]:
        """Match the summary's sentences first .. last - 1 with the text's start .. end - 1."""
        if first == last or start == end:
            return []
        i = max(range(first, last), key=lambda place: len(theirs[place]))
        j = max(range(start, end), key=lambda place: main_score(ours[place], theirs[i]))
        before = within(first, i, start, j + 1)
        return [*before, Match(i, j), *within(i + 1, last, j, end)]

    return within(0, len(theirs), 0, len(ours))
