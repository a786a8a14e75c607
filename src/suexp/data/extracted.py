"""What other runs extracted from documents, with the summaries that are to be written of it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.docstring_extract import Extract, extracts
from suexp.data.docstring_summary import running
from suexp.data.document import Document
from suexp.data.text import Text, one_of
from suexp.errors import UserError, at_least

if TYPE_CHECKING:
    from suexp.task.base import Task

EXTRACTION = "task=sentence_extraction data=docstring_extract"


class Extracted(Text):
    r"""Sentences of documents as sources, their summaries as targets: the rows of a generator.

    The documents are those of `suexp.data.docstring_extract`. The run's sources ``fold_0``,
    ``fold_1`` ... have each learned to extract without one fold, their ``data.fold``; of that fold
    it is they who choose the sentences, so that the generator learns from what the extraction of an
    unknown document looks like. Of held-out documents, which none of them knows, the mean of their
    probabilities chooses. ``train_on`` says what the generator learns from: ``extracted``;
    ``gold``, the sentences that the labels name; or ``both``, where each document is two rows.
    Validation rows are always extracted ones.

    A row is the function's name, the chosen sentences and the summary, in the rows of
    `suexp.data.joining`. What is held out is the same as with data=docstring_summary, and so is the
    tokenizer, with the same ``val_fraction``: a run can start from one of that data set.

    Post: https://kexue.fm/archives/8046.

    Args:
        train_on: ``both``, ``gold`` or ``extracted``.
        folds: how many sources there are; 0: none, and every source text is its whole document.
        min_sentences: of a document.
        max_sentences: later ones are left out.
        tokenizer: ``bpe``, trained on all docstrings of the training split, or ``bytes``.
        vocab_size: tokens of the BPE, the 3 special ones included; the bytes always have 259.
        block_size: the most tokens of a row.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the documents that is held out.
        truncate: cut sources that are too long; false: refuse them.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source; a source that does not
            fit.
    """

    provides: ClassVar[set[str]] = {"text", "targets"}
    needs: ClassVar[dict[str, str]] = {
        "sources.fold_0 if folds": "each fold is extracted by a run that has not learned from it: "
        "sources.fold_0, sources.fold_1 with task=sentence_extraction; or set data.folds=0",
        "sources.fold_1 if folds": "each fold is extracted by a run that has not learned from it: "
        "sources.fold_0, sources.fold_1 with task=sentence_extraction; or set data.folds=0",
    }
    kind = "seq2seq"

    def __init__(
        self,
        train_on: Literal["both", "gold", "extracted"] = "both",
        folds: int = 2,
        min_sentences: int = 5,
        max_sentences: int = 32,
        tokenizer: Literal["bpe", "bytes"] = "bpe",
        vocab_size: int = 2048,
        block_size: int = 96,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        val_fraction: float = 0.3,
        truncate: bool = True,
    ) -> None:
        self.train_on = one_of("train_on", train_on, ("both", "gold", "extracted"))
        at_least(1, "data", min_sentences=min_sentences, max_sentences=max_sentences)
        at_least(0, "data", folds=folds)
        if folds == 1:
            raise ValueError("data.folds 1: a run that has not learned from it learns from another")
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=None,
            truncate=truncate,
        )
        self.folds, self.limits = folds, (min_sentences, max_sentences)
        self._chosen: list[list[int]] | None = None

    def origins(self) -> list[str]:
        """Return the names of the extractors."""
        return [f"fold_{fold}" for fold in range(self.folds)]

    def adopt(self, origins: "Mapping[str, Task]") -> None:
        """Let the extractors choose sentences of all documents.

        Raises:
            UserError: one is missing, extracts nothing, knows its fold or has other documents.
        """
        tasks = [self._extractor(fold, origins.get(f"fold_{fold}")) for fold in range(self.folds)]
        self._chosen = None if not tasks else self._choose(tasks)

    def _extractor(self, fold: int, task: Any) -> Any:
        """Return the run that extracts a fold."""
        name = f"sources.fold_{fold}"
        if task is None:
            raise UserError(f"data.folds={self.folds} needs a run {name}: {EXTRACTION}")
        if not hasattr(task, "probabilities"):
            raise UserError(f"{name} extracts no sentences; let it have {EXTRACTION}")
        data: Any = task.data
        found = {"fold": data.fold, "folds": data.folds, "val_fraction": data.val_fraction}
        wanted = {"fold": fold, "folds": self.folds, "val_fraction": self.val_fraction}
        found["min_sentences"], found["max_sentences"] = data.limits
        wanted["min_sentences"], wanted["max_sentences"] = self.limits
        for key, value in wanted.items():
            if found[key] != value:
                raise UserError(f"{name} has data.{key}={found[key]}; let it have {value}")
        return task

    def _choose(self, tasks: Sequence[Any]) -> list[list[int]]:
        """Return the chosen sentences of each document."""
        import torch

        chosen: list[list[int]] = [[] for _ in extracts(*self.limits)]
        sums: dict[int, Any] = {}
        for task in tasks:
            for number, p in task.probabilities([*range(len(chosen))]):
                document = task.data.documents[number]
                if document.held_out(self.val_fraction):
                    sums[number] = sums.get(number, torch.zeros_like(p)) + p
                elif document.fold(self.folds) == task.data.fold:
                    chosen[number] = task.chosen(p)
        for number, total in sums.items():
            chosen[number] = tasks[0].chosen(total / len(tasks))
        return chosen

    def documents(self, split: str) -> Iterator[Document]:
        """Yield the pairs of the split.

        Raises:
            UserError: nothing has been extracted yet.
        """
        if self.folds and self._chosen is None:
            raise UserError("data=extracted: only a run has rows, once its sources have ended")
        kinds = {"both": ("extracted", "gold")}.get(self.train_on, (self.train_on,))
        for number, document in enumerate(extracts(*self.limits)):
            if document.held_out(self.val_fraction) != (split == "validation"):
                continue
            for kind in kinds if split == "train" and self.folds else ("extracted",):
                yield self._pair(document, self._places(number, document, kind))

    def _places(self, number: int, document: Extract, kind: str) -> Sequence[int]:
        if kind == "gold":
            return [place for place, label in enumerate(document.labels) if label]
        return range(len(document.sentences)) if self._chosen is None else self._chosen[number]

    def _pair(self, document: Extract, places: Sequence[int]) -> Document:
        text = " ".join(document.sentences[place] for place in places)
        source = f"{document.where}\n{text}"
        return Document(document.key, source, where=document.where, other=document.summary)

    def tokenizer_documents(self) -> Iterator[Document]:
        """Return the docstrings of the training split, as data=docstring_summary does."""
        return running("train", self.val_fraction)

    def source(self) -> Any:
        """Return the standard library, hashed, the settings, and what was chosen, once it is."""
        facts = [corpus.key(), self.folds, self.train_on, self.limits]
        if self._chosen is None:
            return facts
        return [*facts, hashlib.sha256(json.dumps(self._chosen).encode()).hexdigest()]
