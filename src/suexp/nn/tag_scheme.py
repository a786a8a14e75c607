"""Schemes of tags: which tag may follow which, and which spans a row of tags marks.

A label is a letter, or a letter, a hyphen and a type (``B-PER``). ``sbie`` cuts a text into words:
S single, B begin, I inside, E end. ``bio`` and ``bioes`` mark some spans and leave the rest O.

Reference: Ramshaw and Marcus, Text Chunking using Transformation-Based Learning,
https://aclanthology.org/W95-0107; the letters of https://kexue.fm/archives/7213.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

SCHEMES = {"sbie": "SBIE", "bio": "BIO", "bioes": "BIOES"}
# Other names for the same: M of BMES; L and U of BILOU.
_ALIASES = {"M": "I", "L": "E", "U": "S"}


def scheme_of(names: Sequence[str]) -> str:
    """Return the first scheme that has the letters of all labels; bioes where none has."""
    found = (scheme for scheme, letters in SCHEMES.items() if _has(letters, names))
    return next(found, "bioes")


def _has(letters: str, names: Sequence[str]) -> bool:
    heads = (str(name).partition("-")[0] for name in names)
    return all(head in letters or _ALIASES.get(head, "-") in letters for head in heads)


def parse(scheme: str, names: Sequence[str], key: str = "scheme") -> list[tuple[str, str]]:
    """Return letter and type of each label.

    Raises:
        ValueError: an unknown scheme, or a label whose letter it does not have.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r} is none of {', '.join(SCHEMES)}")
    result = []
    for name in names:
        letter, _, kind = str(name).partition("-")
        letter = letter if letter in SCHEMES[scheme] else _ALIASES.get(letter, letter)
        if len(letter) != 1 or letter not in SCHEMES[scheme]:
            fitting = scheme_of(names)
            hint = f"use {key}={fitting}" if _has(SCHEMES[fitting], names) else "rename it"
            raise ValueError(
                f"label {name!r} begins with no tag of scheme {scheme} "
                f"({', '.join(SCHEMES[scheme])}); {hint}"
            )
        result.append((letter, kind))
    return result


def allowed(
    scheme: str, names: Sequence[str], key: str = "scheme"
) -> tuple[Bool[Tensor, " c"], Bool[Tensor, " c"], Bool[Tensor, "c c"]]:
    """Return which labels may begin a text, end it, and follow each other (row before column).

    Raises:
        ValueError: as of `parse`.
    """
    labels = parse(scheme, names, key)
    closed = "BIOSE" if scheme == "bio" else "OSE"  # after these a span may end
    start = torch.tensor([letter in "OSB" for letter, _ in labels])
    end = torch.tensor([letter in closed for letter, _ in labels])
    pairs = torch.tensor(
        [
            [
                (first in closed)
                if second in "OSB"
                else (first in "BI" and kind == its)  # I and E go on with a span
                for second, its in labels
            ]
            for first, kind in labels
        ]
    )
    return start, end, pairs


class Spans:
    """Compares the spans that two rows of tags mark.

    Rows that no scheme allows are read as everywhere since CoNLL: a span begins at B or S, at a
    change of type, and where I or E stands with nothing to go on with; it ends before the next one,
    before O, after E and S, and with the text.

    Args:
        scheme: sbie, bio or bioes.
        names: the labels.
        key: what the scheme is called in a config, for messages.
    """

    def __init__(self, scheme: str, names: Sequence[str], key: str = "scheme") -> None:
        labels = parse(scheme, names, key)
        kinds = sorted({kind for _, kind in labels})
        self.kind = torch.tensor([kinds.index(kind) for _, kind in labels])
        self.outside = torch.tensor([letter == "O" for letter, _ in labels])
        # One row more for the beginning of the text.
        self.begins = torch.tensor(
            [
                [
                    second != "O" and (second in "BS" or first in "OES" or kind != its)
                    for second, its in labels
                ]
                for first, kind in [*labels, ("O", "")]
            ]
        )

    def count(
        self, found: Int[Tensor, "b t"], wanted: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Int[Tensor, "3"]:
        """Return how many spans are in both rows, in the found ones, in the wanted ones.

        Labels of padded steps must lie in range.
        """
        ours, our_ends = self._mark(found, mask)
        theirs, their_ends = self._mark(wanted, mask)
        kind = self.kind.to(found.device)
        same = ours & theirs & (our_ends == their_ends) & (kind[found] == kind[wanted])
        return torch.stack([same.sum(), ours.sum(), theirs.sum()])

    def _mark(self, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return where spans begin, and at each place where the next thing begins after it."""
        t, device = labels.shape[1], labels.device
        begins, outside = self.begins.to(device), self.outside.to(device)
        start = labels.new_full((len(labels), 1), len(outside))
        first = begins[torch.cat((start, labels[:, :-1]), 1), labels] & mask
        # After E and S whatever comes begins anew or lies outside, so these two are all.
        cut = first | outside[labels] | ~mask
        places = torch.arange(t, device=device).expand_as(labels)
        following = places.masked_fill(~cut, t).flip(1).cummin(1).values.flip(1)
        ends = torch.cat((following[:, 1:], following.new_full((len(labels), 1), t)), 1)
        return first, ends
