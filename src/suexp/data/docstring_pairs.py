"""Real pairs of texts with no download: a docstring's summary and the rest of it."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.document import Document, of_split
from suexp.data.text import Text

# PEP 257: a summary, a blank line, a description. Where the first paragraph goes on, its first
# sentence is the summary.
SUMMARY_ENDS = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\betc)[.!?]\s|\n[ \t]*\n")
SHORTEST_SUMMARY, SHORTEST_BODY = 10, 20  # characters; shorter ones are about nothing


class DocstringPairs(Text):
    r"""Summaries of the standard library's docstrings, each with the rest of its docstring.

    Text a is the first sentence or paragraph, whichever ends first, text b what follows it (Python
    3.11: 2,838 pairs, 626 of them held out). Of equal summaries and of equal bodies the first
    stays, so each text has one partner. A batch holds ``tokens_a`` and ``keep_a`` (B, n),
    ``tokens_b`` and ``keep_b`` (B, m). Pairs are held out by a hash of their body.

    Reference: https://peps.python.org/pep-0257/; https://kexue.fm/archives/8471 trains on such
    pairs.

    Args:
        tokenizer: ``bpe``, trained on the training split, ``bytes``, or ``wordpiece``, BERT's.
        vocab_size: tokens of the BPE, the 3 special ones included; the bytes always have 259.
        block_size: the most tokens of a text.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step; the scores are those of all rows together.
        val_fraction: share of the pairs that is held out.
        max_bytes: the most training text (summaries), in bytes; null: all.
        truncate: cut texts that are longer than block_size; false: refuse them.
        vocab: path of a checkpoint's vocab.txt, for ``tokenizer=wordpiece``.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"text", "pairs"}
    refuses: ClassVar[dict[str, str]] = {
        "task=causal_lm": "its rows are pairs of texts, not packed blocks; use data=pydoc",
        "task=masked_lm": "its rows are pairs of texts, not packed blocks; use data=pydoc",
    }
    kind = "pairs"

    def __init__(
        self,
        tokenizer: Literal["bpe", "bytes", "wordpiece"] = "bpe",
        vocab_size: int = 4096,
        block_size: int = 64,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        val_fraction: float = 0.22,
        max_bytes: int | None = None,
        truncate: bool = True,
        vocab: str | None = None,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=max_bytes,
            truncate=truncate,
            vocab=vocab,
        )

    def documents(self, split: str) -> Iterator[Document]:
        """Return the pairs of the split."""
        return of_split(_pairs(), split, self.val_fraction)

    def source(self) -> Any:
        """Return the standard library's version, names and sizes, hashed."""
        return corpus.key()


def _pairs() -> Iterator[Document]:
    summaries: set[str] = set()
    bodies: set[str] = set()
    for module, text in corpus.docstrings():
        summary, body = halves(text)
        if len(summary) < SHORTEST_SUMMARY or len(body) < SHORTEST_BODY:
            continue
        if summary not in summaries and body not in bodies:
            summaries.add(summary)
            bodies.add(body)
            yield Document(body, summary, where=module, other=body)


def halves(docstring: str) -> tuple[str, str]:
    """Return the summary and what follows it, each with single blanks between its words."""
    summary, body = cut(docstring)
    return " ".join(summary.split()), " ".join(body.split())


def cut(docstring: str) -> tuple[str, str]:
    """Return the summary and what follows it, as they are written."""
    text = docstring.strip()
    end = SUMMARY_ENDS.search(text)
    place = len(text) if end is None else end.end()
    return text[:place], text[place:]
