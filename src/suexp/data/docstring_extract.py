"""Real documents with no download of which some sentences are to be extracted."""

import functools
import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from suexp.code.reach import digest
from suexp.data import corpus
from suexp.data.base import Data
from suexp.data.cache import cached
from suexp.data.docstring_pairs import cut
from suexp.data.docstring_summary import LONGEST, SHORTEST, entries
from suexp.data.document import share
from suexp.data.matched import matches
from suexp.errors import UserError, at_least

# As fine as the post's, which cuts at Chinese commas, too.
END = re.compile(r"\n[ \t]*\n|(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bcf\.)(?<=[.!?;:])\s+")
LETTER = re.compile(r"[A-Za-z]")


class Extract(NamedTuple):
    """A document, its summary, and which of its sentences the summary is made of.

    Attributes:
        where: module and name, which is no part of the text.
        summary: what is to be said.
        sentences: of the document, in their order.
        labels: 1 for those that `suexp.data.matched` finds for the summary, else 0.
    """

    where: str
    summary: str
    sentences: tuple[str, ...]
    labels: tuple[int, ...]

    @property
    def key(self) -> str:
        """What decides the split, as in `suexp.data.docstring_summary`."""
        return self.summary

    def held_out(self, val_fraction: float) -> bool:
        """Tell whether the document belongs to the validation split."""
        return share(self.key) < val_fraction

    def fold(self, folds: int) -> int:
        """Return to which of so many parts of the training split it belongs."""
        return int(share(self.key, "fold") * folds)


class DocstringExtract(Data):
    r"""Docstrings of several sentences, each sentence a vector and whether the summary needs it.

    The summary is the docstring's first sentence or paragraph, the document what follows, cut into
    sentences after ``.!?;:`` and at empty lines. The labels are those of `suexp.data.matched`; as
    the summary is no part of the document, they say what comes closest. A vector is the counts of a
    sentence's words, hashed into ``dim`` places, over their norm; without words it is 0.

    A batch holds ``x`` (B, n, dim), 0 at padding, ``keep`` (B, n), ``label`` (B, n) and
    ``document`` (B,), the number of the document in `documents`. What is held out is chosen by a
    hash of the summary, the same as with data=docstring_summary.

    With ``fold`` = i the training split has no document of the i-th of ``folds`` parts, so that a
    model can tell what it says of documents that it did not learn from: see data=extracted.

    Reference: https://kexue.fm/archives/8046; hashed words, Weinberger et al., Feature Hashing for
    Large Scale Multitask Learning, arXiv:0902.2206.

    Args:
        dim: numbers of a vector.
        min_sentences: the fewest sentences of a document.
        max_sentences: the most; later ones are left out.
        folds: how many parts the training split has.
        fold: the part that is left out; null: none.
        batch_size: documents of a training step.
        eval_batch_size: documents of an evaluation step.
        val_fraction: share of the documents that is held out.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"sentence_labels"}

    def __init__(
        self,
        dim: int = 512,
        min_sentences: int = 5,
        max_sentences: int = 32,
        folds: int = 2,
        fold: int | None = None,
        batch_size: int = 32,
        eval_batch_size: int = 128,
        val_fraction: float = 0.3,
    ) -> None:
        at_least(1, "data", dim=dim, batch_size=batch_size, eval_batch_size=eval_batch_size)
        at_least(1, "data", min_sentences=min_sentences, max_sentences=max_sentences)
        at_least(2, "data", folds=folds)
        if fold is not None and not 0 <= fold < folds:
            raise ValueError(f"data.fold {fold} must be from 0 to data.folds - 1 = {folds - 1}")
        if not 0 < val_fraction < 1:
            raise ValueError(f"data.val_fraction must be between 0 and 1, not {val_fraction}")
        self.dim, self.folds, self.fold = dim, folds, fold
        self.limits = (min_sentences, max_sentences)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.val_fraction = val_fraction

    @functools.cached_property
    def documents(self) -> Sequence[Extract]:
        """All documents, those of both splits."""
        return extracts(*self.limits)

    def splits(self) -> dict[str, Any]:
        """Return the rows of both splits, written on first use."""
        from suexp.data.rows import open_rows

        folder = cached(f"docstringextract-{self.fingerprint()[:20]}", self._prepare)
        return {
            split: open_rows(folder / f"{split}.arrow", f"{folder.name}-{split}")
            for split in ("train", "validation")
        }

    def numbers(self, split: str) -> list[int]:
        """Return which documents a split has."""
        return [
            number
            for number, document in enumerate(self.documents)
            if document.held_out(self.val_fraction) == (split == "validation")
            and (split == "validation" or document.fold(self.folds) != self.fold)
        ]

    def _prepare(self, folder: Path) -> None:
        import numpy as np

        from suexp.data.rows import write_rows

        for split in ("train", "validation"):
            chosen = self.numbers(split)
            if not chosen:
                raise UserError(
                    f"the {split} split has no document; change data.val_fraction or "
                    "data.min_sentences"
                )
            rows = [self.row(number) for number in chosen]
            table: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
            table["document"] = np.array(chosen)
            write_rows(folder / f"{split}.arrow", [table])

    def row(self, number: int) -> dict[str, Any]:
        """Return the row of a document, of whatever split."""
        import numpy as np

        document = self.documents[number]
        label = np.array(document.labels, np.int8)
        return {"places": self._places(document.sentences), "label": label, "document": number}

    def _places(self, sentences: Sequence[str]) -> Any:
        """Return where the words of all sentences are counted in a table (n, dim), flattened."""
        import numpy as np

        from suexp.nn.overlap import units

        found = [
            row * self.dim + zlib.crc32(word.encode()) % self.dim
            for row, sentence in enumerate(sentences)
            for word in units(sentence, "alphanumeric")
        ]
        return np.array(found, np.int32)

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these documents (see the class)."""
        import numpy as np
        import torch

        from suexp.data.layout import padded

        label, keep = padded([row["label"] for row in rows], 0)
        size = label.shape[1] * self.dim
        places = np.concatenate([i * size + row["places"] for i, row in enumerate(rows)])
        counts = np.bincount(places, minlength=len(rows) * size).reshape(*label.shape, self.dim)
        norm = np.sqrt((counts**2).sum(-1, keepdims=True))
        return {
            "x": torch.from_numpy((counts / np.maximum(norm, 1)).astype(np.float32)),
            "keep": torch.from_numpy(keep),
            "label": torch.from_numpy(label),
            "document": torch.from_numpy(np.array([row["document"] for row in rows])),
        }

    @property
    def sizes(self) -> dict[str, int]:
        """``input_dim``."""
        return {"input_dim": self.dim}

    def depends_on(self) -> Any:
        """Return the standard library's version, names and sizes, hashed, and all settings."""
        return [corpus.key(), self.dim, self.limits, self.folds, self.fold, self.val_fraction]


def sentences_of(text: str) -> list[str]:
    """Return a text's sentences, with single blanks between their words; all have a letter."""
    found = (" ".join(part.split()) for part in END.split(text))
    return [sentence for sentence in found if LETTER.search(sentence)]


@functools.cache
def extracts(fewest: int, most: int) -> Sequence[Extract]:
    """Return the documents of at least so many sentences, cut after so many; kept on disk."""
    facts = [corpus.key(), digest([__name__]), fewest, most]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def write(folder: Path) -> None:
        text = json.dumps([*_extracts(fewest, most)])
        (folder / "documents.json").write_text(text, encoding="utf-8")

    text = (cached(f"extracts-{name}", write) / "documents.json").read_text(encoding="utf-8")
    return [Extract(w, s, tuple(parts), tuple(tags)) for w, s, parts, tags in json.loads(text)]


def _extracts(fewest: int, most: int) -> "list[Extract]":
    found = []
    for heading, text, summary, _ in entries():
        sentences = sentences_of(cut(text)[1])[:most]
        if len(sentences) >= fewest and SHORTEST <= len(summary) <= LONGEST:
            chosen = {match.text for match in matches(sentences, sentences_of(summary))}
            labels = tuple(int(place in chosen) for place in range(len(sentences)))
            found.append(Extract(heading, summary, tuple(sentences), labels))
    return found
