"""A document, and the split that it belongs to."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from suexp.errors import UserError

# With this salt the embedded corpora's validation text comes close to the share that is asked for.
SALT = "suexp"
# The label of a pair of which nobody has said whether it matches; no file can hold it.
UNKNOWN = ""
# Shorter paragraphs ("Return None.") repeat without giving anything away.
LONG_PARAGRAPH = 60


@dataclass(frozen=True, slots=True)
class Document:
    """A text that is never cut in two by a split.

    Attributes:
        key: decides the split when the source has none: the document's name or its content.
        text: what it says.
        label: its class, a number or several classes, where it has one.
        where: file and line, for messages.
        other: the second text of a pair: an answer, a summary.
        units: what its tags stand for, one each; joined they are the text.
        tags: as many tags.
    """

    key: str
    text: str
    label: str | int | float | tuple[str | int, ...] | None = None
    where: str = ""
    other: str | None = None
    units: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that it holds; of tagged ones each unit by itself."""
        if self.units is not None:
            return self.units
        return (self.text,) if self.other is None else (self.text, self.other)


def share(key: str, salt: str = SALT) -> float:
    """Return a number in [0, 1) that depends on the key alone: the same in every process."""
    digest = hashlib.blake2b(f"{salt}/{key}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def refuse_single(labels: Collection[Any]) -> None:
    """Refuse training rows of one class only: whatever is learned is right.

    Raises:
        UserError: as said.
    """
    if len(labels) == 1:
        raise UserError(
            f"all training rows have the label {next(iter(labels))!r}; there is nothing to tell "
            "apart without rows of a second one"
        )


def of_split(documents: Iterable[Document], split: str, val_fraction: float) -> Iterator[Document]:
    """Yield the documents whose key falls into the split, ``train`` or ``validation``.

    A document stays where it is when others come or go, and equal keys share their split.
    """
    validation = split == "validation"
    return (doc for doc in documents if (share(doc.key) < val_fraction) == validation)


def capped(documents: Iterable[Document], max_bytes: int | None) -> Iterator[Document]:
    """Yield the documents up to a total of ``max_bytes`` in UTF-8; the last one is cut to fit.

    One with tags is not cut but left out.
    """
    left = max_bytes
    for doc in documents:
        if left is None:
            yield doc
            continue
        if left <= 0:
            return
        data = doc.text.encode()
        if doc.tags is not None and len(data) > left:
            return
        text = doc.text if len(data) <= left else data[:left].decode(errors="ignore")
        left -= len(data)
        yield replace(doc, text=text)


def without_repeats(documents: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return name -> text with each longer paragraph only where it first occurs.

    Reference texts quote each other at length: without this a validation document would be found
    word for word in the training split. Documents with nothing of their own are left out.
    """
    seen: set[str] = set()
    result = {}
    for name, text in documents:
        kept = []
        for paragraph in re.split(r"\n[ \t]*\n", text):
            words = " ".join(paragraph.split())
            if len(words) >= LONG_PARAGRAPH:
                if words in seen:
                    continue
                seen.add(words)
            if words:
                kept.append(paragraph)
        if kept:
            result[name] = "\n\n".join(kept)
    return result
