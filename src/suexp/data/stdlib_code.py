"""Real source code with no download: the standard library itself."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.document import Document, of_split
from suexp.data.text import Text


class StdlibCode(Text):
    r"""The standard library's source files as packed blocks; a document is a file.

    Tests are left out (see `suexp.data.corpus`), and so are the codecs' tables. Whole files are
    held out, chosen by a hash of their name. ``tokens`` of a batch is (batch_size, block_size + 1).

    Reference: https://github.com/python/cpython/tree/main/Lib.

    Args:
        tokenizer: ``bpe``, trained on the training split, or ``bytes``.
        vocab_size: tokens of the BPE, the 3 special ones included; the bytes always have 259.
        block_size: tokens that a row predicts.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the files that is held out.
        max_bytes: the most training text, in bytes; null: all.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"text"}

    def __init__(
        self,
        tokenizer: Literal["bpe", "bytes"] = "bpe",
        vocab_size: int = 2048,
        block_size: int = 128,
        batch_size: int = 16,
        eval_batch_size: int = 32,
        val_fraction: float = 0.1,
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

    def documents(self, split: str) -> Iterator[Document]:
        """Return the files of the split."""
        documents = (Document(name, text) for name, text in corpus.code())
        return of_split(documents, split, self.val_fraction)

    def source(self) -> Any:
        """Return the standard library's version, names and sizes, hashed."""
        return corpus.key()
