"""Real short sentences with no download: those of the standard library's docstrings."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.document import Document, of_split
from suexp.data.text import Text

PARAGRAPH = re.compile(r"\n[ \t]*\n")
END = re.compile(r"(?<=[.!?])\s+")
PLAIN = re.compile(r"[A-Z][A-Za-z ,;:'\"()\-]*[.!?]")  # no code, numbers or markup


class DocstringSentences(Text):
    r"""Sentences of the standard library's docstrings, of so many words, each once.

    A sentence begins with a capital and has only letters and common punctuation before its end
    (Python 3.11: about 2,800 of 4 to 8 words). Those held out are chosen by a hash of the sentence.
    A row is ``b x e`` (see `suexp.data.sentences`): ``tokens`` (B, block_size), ``keep``.

    Reference: https://docs.python.org/3/library/.

    Args:
        min_words: the fewest words.
        max_words: the most words.
        tokenizer: ``bpe``, trained on the training split, or ``bytes``.
        vocab_size: tokens of the BPE, the 3 special ones included; the bytes always have 259.
        block_size: tokens of every row, the two around the sentence included.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the sentences that is held out.
        max_bytes: the most training text, in bytes; null: all.
        truncate: cut sentences that are longer than block_size; false: refuse them.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"text", "sentences"}
    kind = "sentences"

    def __init__(
        self,
        min_words: int = 4,
        max_words: int = 8,
        tokenizer: Literal["bpe", "bytes"] = "bpe",
        vocab_size: int = 2048,
        block_size: int = 16,
        batch_size: int = 32,
        eval_batch_size: int = 128,
        val_fraction: float = 0.1,
        max_bytes: int | None = None,
        truncate: bool = True,
    ) -> None:
        if not 1 <= min_words <= max_words:
            raise ValueError(
                f"data.min_words {min_words} must be at least 1 and at most data.max_words "
                f"{max_words}"
            )
        self.min_words, self.max_words = min_words, max_words
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
        """Return the sentences of the split."""
        wanted = (
            doc
            for doc in _sentences()
            if self.min_words <= doc.text.count(" ") + 1 <= self.max_words
        )
        return of_split(wanted, split, self.val_fraction)

    def source(self) -> Any:
        """Return the standard library, hashed, and the numbers of words."""
        return [corpus.key(), self.min_words, self.max_words]


def _sentences() -> Iterator[Document]:
    """Yield the plain sentences, each where it first occurs."""
    seen: set[str] = set()
    for module, text in corpus.docstrings():
        for paragraph in PARAGRAPH.split(text):
            for sentence in END.split(" ".join(paragraph.split())):
                if sentence not in seen and PLAIN.fullmatch(sentence):
                    seen.add(sentence)
                    yield Document(sentence, sentence, where=module)
