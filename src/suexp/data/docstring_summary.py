"""Real sequence-to-sequence data with no download: summarise what a docstring explains."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.docstring_pairs import halves
from suexp.data.document import Document, of_split
from suexp.data.text import Text, one_of

SHORTEST, LONGEST = 15, 120  # characters of a summary; others are signatures or no summaries


class DocstringSummary(Text):
    r"""Docstrings of the standard library: package, name and body, and the summary as the target.

    ``kind=seq2seq``: rows $x\,e\,y\,e$ of a source x, "email.message Message.get_payload" and the
    docstring's body in the next line, and its summary y (see `suexp.data.joining`); Python 3.11 has
    about 2,400 such pairs with different summaries. ``kind=lm``: all docstrings, also those of one
    line, as packed blocks, to train a language model on beforehand. Both kinds share the tokenizer,
    and what is held out is chosen by a hash of the summary. Running text that quotes the summary of
    a held-out pair is no training text.

    Reference: https://docs.python.org/3/library/.

    Args:
        kind: ``seq2seq`` or ``lm``.
        tokenizer: ``bpe``, trained on all docstrings of the training split, or ``bytes``.
        vocab_size: tokens of the BPE, the 3 special ones included; the bytes always have 259.
        block_size: the most tokens of a row, or the tokens that a packed one predicts.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the docstrings that is held out.
        max_bytes: the most training text, in bytes; null: all.
        truncate: cut sources that are too long; false: refuse them.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"text", "targets if kind=seq2seq"}

    def __init__(
        self,
        kind: Literal["seq2seq", "lm"] = "seq2seq",
        tokenizer: Literal["bpe", "bytes"] = "bpe",
        vocab_size: int = 2048,
        block_size: int = 96,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        val_fraction: float = 0.15,
        max_bytes: int | None = None,
        truncate: bool = True,
    ) -> None:
        self.kind = one_of("kind", kind, ("seq2seq", "lm"))
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=max_bytes,
            truncate=truncate,
        )

    def documents(self, split: str) -> Iterator[Document]:
        """Return the pairs of the split, or its docstrings."""
        if self.kind == "seq2seq":
            return of_split(_pairs(), split, self.val_fraction)
        return running(split, self.val_fraction)

    def tokenizer_documents(self) -> Iterator[Document]:
        """Return the docstrings of the training split, whatever the kind."""
        return running("train", self.val_fraction)

    def source(self) -> Any:
        """Return the standard library's version, names and sizes, hashed."""
        return corpus.key()


def entries() -> Iterator[tuple[str, str, str, str]]:
    """Yield heading, whole docstring, summary and body; of equal docstrings the first."""
    seen: set[str] = set()
    for file, name, text in corpus.documented():
        words = " ".join(text.split())
        if words in seen:
            continue
        seen.add(words)
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        yield f"{module} {name}".strip(), text, *halves(text)


def _pairs() -> Iterator[Document]:
    for heading, _, summary, body in entries():
        if body and SHORTEST <= len(summary) <= LONGEST:
            yield Document(summary, f"{heading}\n{body}", where=heading, other=summary)


def running(split: str, val_fraction: float) -> Iterator[Document]:
    """Yield the docstrings of the split, for training those that quote no held-out summary."""
    documents = of_split(_docstrings(), split, val_fraction)
    if split == "validation":
        return documents
    held_out = [doc.other or "" for doc in of_split(_pairs(), "validation", val_fraction)]
    return (doc for doc in documents if not _quotes(doc, held_out))


def _quotes(doc: Document, summaries: list[str]) -> bool:
    words = " ".join(doc.text.split())
    return any(summary in words for summary in summaries)


def _docstrings() -> Iterator[Document]:
    for heading, text, summary, _ in entries():
        yield Document(summary, f"{heading}\n{text}", where=heading)
