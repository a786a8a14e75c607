"""How much a generated text has in common with its reference."""

from collections import Counter
from collections.abc import Sequence


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest sequence that both hold, perhaps with gaps."""
    above = [0] * (len(b) + 1)
    for x in a:
        row = [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else max(above[j + 1], row[j]))
        above = row
    return above[-1]


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


def units(text: str, unit: str) -> list[str]:
    """Return the words of a text, in small letters, or its characters other than blanks."""
    text = text.lower()
    return text.split() if unit == "word" else [c for c in text if not c.isspace()]
