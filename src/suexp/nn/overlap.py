"""How much a generated text has in common with its reference."""

import re
from collections import Counter
from collections.abc import Sequence

ALPHANUMERIC = re.compile(r"[a-z0-9]+")


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest sequence that both hold, perhaps with gaps.

    A row of the usual table grows by at most 1 from place to place; where it does not, a bit is
    set. All places of a go through one addition.

    Reference: Hyyrö, Bit-parallel LCS-length computation revisited, AWOCA 2004.
    """
    places: dict[str, int] = {}
    for i, x in enumerate(a):
        places[x] = places.get(x, 0) | 1 << i
    everything = (1 << len(a)) - 1
    row = everything
    for y in b:
        here = row & places.get(y, 0)
        row = (row + here | row - here) & everything
    return len(a) - row.bit_count()


def rouge_l(found: Sequence[str], reference: Sequence[str]) -> float:
    r"""Return $F = 2 P R / (P + R)$ with $P = \ell / |found|$, $R = \ell / |reference|$.

    $\ell$ is the length of the longest common subsequence; nothing in common gives 0.

    Reference: Lin, ROUGE: A Package for Automatic Evaluation of Summaries,
    https://aclanthology.org/W04-1013.
    """
    common = longest_common_subsequence(found, reference)
    return 2 * common / (len(found) + len(reference)) if common else 0.0


def rouge_n(found: Sequence[str], reference: Sequence[str], n: int) -> float:
    r"""Return $F = 2 c / (a + b)$ of the c common ones of a and b runs of n words, ROUGE-n.

    A run that stands k times in one and l times in the other is common min(k, l) times. Nothing in
    common gives 0. Reference: that of `rouge_l`.
    """
    a, b = (
        Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (found, reference)
    )
    common = (a & b).total()
    return 2 * common / (a.total() + b.total()) if common else 0.0


def main_score(found: Sequence[str], reference: Sequence[str]) -> float:
    """Return .2 ROUGE-1 + .4 ROUGE-2 + .4 ROUGE-L, by which https://kexue.fm/archives/8046 judges.

    >>> round(main_score("a b c d".split(), "a b x d".split()), 3)
    0.583
    """
    one, two = (rouge_n(found, reference, n) for n in (1, 2))
    return 0.2 * one + 0.4 * two + 0.4 * rouge_l(found, reference)


def ngram_precision(found: Sequence[str], source: Sequence[str], n: int = 2) -> float:
    """Return which share of a text's runs of n words stand in its source; 0 where it has none."""
    a, b = ([*zip(*(words[i:] for i in range(n)), strict=False)] for words in (found, source))
    known = {*b}
    return sum(run in known for run in a) / len(a) if a else 0.0


UNITS = ("word", "character", "alphanumeric")


def units(text: str, unit: str) -> list[str]:
    """Return what a text is counted in, in small letters.

    Args:
        text: any.
        unit: ``word``, what stands between blanks; ``character``, all but the blanks; or
            ``alphanumeric``, words of ASCII letters and digits, without punctuation, as the package
            rouge-score counts.
    """
    text = text.lower()
    if unit == "alphanumeric":
        return ALPHANUMERIC.findall(text)
    return text.split() if unit == "word" else [c for c in text if not c.isspace()]
