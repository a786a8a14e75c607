"""Word segmentation with no download: docstrings without their spaces."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.document import Document, share
from suexp.data.text import Text

# Clauses end at punctuation; quotes and the marks of reStructuredText are left out.
_ENDS = re.compile(r"[.!?:;,()]+\s+| \(")
_MARKS = re.compile(r"[\"'`*]")
_CLAUSE = re.compile(r"[A-Za-z]+(?: [A-Za-z]+){3,15}")  # of 4 to 16 words


class Spaceless(Text):
    r"""Clauses of the standard library's docstrings in small letters: where were the spaces?

    Each clause of 4 to 16 words that are all letters is a text, once (Python 3.11: 12,531, of 38
    letters on average). The tokens are its letters without the spaces, the tags S (a word of one
    letter), B, I and E (begin, inside, end of a longer word). Clauses are held out by a hash of
    their words. A batch holds ``tokens``, ``keep`` and ``tags``, (B, n) each.

    Reference: https://kexue.fm/archives/7213 segments Chinese; English without its spaces is
    harder, since single letters say less.

    Args:
        tokenizer: ``chars``, the letters of the training split, or ``bytes``.
        vocab_size: the most letters, an unknown one and 3 special tokens included.
        block_size: the most letters of a clause; longer ones are left out, since a cut might go
            through a word.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the clauses for validation.
        test_fraction: share of the clauses for the test: about 1,000 by default.
        max_bytes: the most training text, in bytes; null: all.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"text", "tags"}
    kind = "tagging"
    split_names = ("train", "validation", "test")

    def __init__(
        self,
        tokenizer: Literal["chars", "bytes"] = "chars",
        vocab_size: int = 259,
        block_size: int = 160,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        val_fraction: float = 0.04,
        test_fraction: float = 0.08,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=max_bytes,
        )
        if not 0 < test_fraction < 1 - val_fraction:
            raise ValueError(
                f"data.test_fraction must be between 0 and 1 - val_fraction, not {test_fraction}"
            )
        self.test_fraction = test_fraction

    def documents(self, split: str) -> Iterator[Document]:
        """Return the clauses of the split."""
        edges = {
            "test": (0.0, self.test_fraction),
            "validation": (self.test_fraction, self.test_fraction + self.val_fraction),
            "train": (self.test_fraction + self.val_fraction, 1.0),
        }
        low, high = edges[split]
        return (
            doc
            for doc in _clauses()
            if len(doc.text.replace(" ", "")) <= self.block_size and low <= share(doc.key) < high
        )

    def source(self) -> Any:
        """Return the standard library's version, names and sizes, hashed, and the test's share."""
        return [corpus.key(), self.test_fraction]


def _clauses() -> Iterator[Document]:
    seen: set[str] = set()
    for module, text in corpus.docstrings():
        for paragraph in re.split(r"\n[ \t]*\n", text):
            for piece in _ENDS.split(" ".join(paragraph.split())):
                clause = _MARKS.sub("", piece).strip(" .!?:;,()-").lower()
                if _CLAUSE.fullmatch(clause) and clause not in seen:
                    seen.add(clause)
                    yield Document(clause, clause, where=module)
