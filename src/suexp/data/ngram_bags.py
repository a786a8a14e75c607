"""Words and the words around them, as bags."""

import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from suexp.contents import content_hash
from suexp.data import corpus
from suexp.data.base import Data
from suexp.data.cache import cached
from suexp.data.document import Document, of_split
from suexp.data.paths import Paths, found_files
from suexp.data.records import as_document, format_of, records
from suexp.errors import UserError, at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Words of Latin letters in lower case; a Chinese character is a word.
WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\d_\u4e00-\u9fff]+")
AT_ONCE = 65_536  # rows of a record batch


class NgramBags(Data):
    r"""Each word of a text with the set of those within ``window`` words: $x \in \{0, 1\}^{2V}$.

    The first V components are the words around it, those that repeat counted once, the others the
    word itself. Words are runs of letters, in lower case, and single Chinese characters; the V most
    frequent of the training split are known. Others take up a place and are in no bag. A window
    ends where its document does.

    A batch holds ``places`` (B, 2 window + 1), where the ones are, ``keep``, which of them are no
    padding, both as `suexp.nn.hashing.Bag` has them, and ``weight``, 1 / (V p) there, p the word's
    share of the training words: the paper's x / p, whose common factor changes the learning rate
    only.

    With no path: the documentation of the running Python, as ``data=pydoc`` (3.11: 250,000 words).
    Whole documents are held out, by a hash of their name, or of their text.

    Post: https://kexue.fm/archives/8159. Paper: Liang et al., Can a Fruit Fly Learn Word
    Embeddings?, arXiv:2101.06887.

    Args:
        path: text, JSON lines, CSV, TSV or Parquet files, a glob or a list; null: as said.
        column: of files that have columns, the text's.
        vocab_size: V, the most words.
        window: words on each side; the paper's n-grams are of 11 words.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the documents held out: half, for word neighbours are judged there.
        max_rows: the most rows that training reads, the first of them; null: all.

    Raises:
        ValueError: a value out of range.
        UserError: a file that is missing, empty or broken; no word in a split.
    """

    provides: ClassVar[set[str]] = {"bags"}

    def __init__(
        self,
        path: Paths = None,
        column: str = "text",
        vocab_size: int = 2000,
        window: int = 5,
        batch_size: int = 256,
        eval_batch_size: int = 2048,
        val_fraction: float = 0.5,
        max_rows: int | None = None,
    ) -> None:
        at_least(2, "data", vocab_size=vocab_size)
        at_least(1, "data", window=window, batch_size=batch_size, eval_batch_size=eval_batch_size)
        at_least(1, "data", max_rows=max_rows)
        if not 0 < val_fraction < 1:
            raise ValueError(f"data.val_fraction must be between 0 and 1, not {val_fraction}")
        self.path, self.column = path, column
        self.vocab_size, self.window, self.max_rows = vocab_size, window, max_rows
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.val_fraction = val_fraction

    def documents(self, split: str) -> Iterator[Document]:
        """Return the documents of a split."""
        return of_split(self._all_documents(), split, self.val_fraction)

    def _all_documents(self) -> Iterator[Document]:
        if self.path is None:
            yield from (Document(name, text) for name, text in corpus.documentation().items())
            return
        columns = {"text": self.column}
        for path in found_files("data.path", self.path):
            for where, record in records(path, None, columns, True, "paragraph"):
                yield as_document(where, record, columns)

    def reads(self) -> list[Path]:
        """Return the files."""
        return [] if self.path is None else found_files("data.path", self.path)

    def depends_on(self) -> Any:
        """Return the files' contents or Python's version, and what shapes the rows."""
        source = [(format_of(path, None), content_hash(path)) for path in self.reads()]
        shape = [self.vocab_size, self.window, self.val_fraction, self.max_rows, self.column]
        return [source or corpus.key(), *shape]

    @functools.cached_property
    def _folder(self) -> Path:
        return cached(f"ngram-bags-{self.fingerprint()[:20]}", self._prepare)

    def splits(self) -> dict[str, Any]:
        """Return train and validation: rows of ``gram``, word numbers around and at the middle."""
        from suexp.data.rows import open_rows

        folder = self._folder
        return {
            name: open_rows(folder / f"{name}.arrow", f"{folder.name}-{name}")
            for name in ("train", "validation")
        }

    def _prepare(self, folder: Path) -> None:
        from suexp.data.rows import write_rows

        counts = Counter(word for doc in self.documents("train") for word in words_of(doc.text))
        # Of equal counts the first in the alphabet.
        known = sorted(counts, key=lambda word: (-counts[word], word))[: self.vocab_size]
        number = {word: i for i, word in enumerate(known)}
        for split in ("train", "validation"):
            grams = self._grams(split, number)
            if not write_rows(folder / f"{split}.arrow", ({"gram": some} for some in grams)):
                raise UserError(
                    f"data=ngram_bags: no known word in the {split} split; give it more documents"
                )
        facts = {"words": known, "counts": [counts[word] for word in known]}
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")

    def _grams(self, split: str, number: dict[str, int]) -> Iterator["NDArray[Any]"]:
        """Yield arrays (rows, 2 window + 1) of the known words' n-grams; -1 is no known word."""
        import numpy as np

        left = self.max_rows if split == "train" else None
        for texts in _batched(words_of(doc.text) for doc in self.documents(split)):
            apart = [-1] * self.window  # so that no window reaches into another document
            line = [*apart]
            for text in texts:
                line += [*(number.get(word, -1) for word in text), *apart]
            padded = np.asarray(line, np.int32)
            if len(padded) <= 2 * self.window:
                continue
            grams = np.lib.stride_tricks.sliding_window_view(padded, 2 * self.window + 1)
            rows = grams[grams[:, self.window] >= 0][:left]
            if left is not None:
                left -= len(rows)
            if len(rows):
                yield np.ascontiguousarray(rows)

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these rows."""
        import numpy as np
        import torch

        grams = np.stack([row["gram"] for row in rows]).astype(np.int64)
        target = grams[:, self.window : self.window + 1]
        context = np.sort(np.delete(grams, self.window, axis=1), axis=1)
        keep = context >= 0
        keep[:, 1:] &= context[:, 1:] != context[:, :-1]
        inverse = 1 / (self.vocab_size_ * self.frequencies)
        words = np.concatenate([context * keep, target], axis=1)
        keep = np.concatenate([keep, np.ones_like(target, dtype=bool)], axis=1)
        places = words.copy()
        places[:, -1] += self.vocab_size_
        return {
            "places": torch.from_numpy(places),
            "keep": torch.from_numpy(keep),
            "weight": torch.from_numpy((inverse[words] * keep).astype(np.float32)),
        }

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """``words``, the most frequent first, and their ``counts``, all of the training split."""
        found: dict[str, Any] = json.loads((self._folder / "facts.json").read_text("utf-8"))
        return found

    @property
    def words(self) -> list[str]:
        """The known words, the most frequent first."""
        words: list[str] = self.facts["words"]
        return words

    @property
    def vocab_size_(self) -> int:
        """How many words are known: V, or all that there are."""
        return len(self.words)

    @functools.cached_property
    def frequencies(self) -> "NDArray[Any]":
        """Shares of the known words among the training split's, (V,)."""
        import numpy as np

        counts = np.asarray(self.facts["counts"], np.float64)
        return counts / counts.sum()

    def numbers(self, words: Iterable[str]) -> list[int]:
        """Return the words' numbers.

        Raises:
            KeyError: the first that is not known.
        """
        number = {word: i for i, word in enumerate(self.words)}
        found = []
        for word in words:
            if word not in number:
                raise KeyError(f"{word!r} is not among the {len(number)} known words")
            found.append(number[word])
        return found

    def context_counts(self, split: str) -> Any:
        """Return how often a word (row) has another (column) in its window: sparse, (V, V)."""
        import numpy as np
        import pyarrow as pa
        from scipy.sparse import coo_matrix, csr_matrix

        shape = (self.vocab_size_, self.vocab_size_)
        total = csr_matrix(shape)
        with pa.memory_map(str(self._folder / f"{split}.arrow")) as file:
            for batch in pa.ipc.open_stream(file):
                grams = batch.column(0).flatten().to_numpy().reshape(-1, 2 * self.window + 1)
                target = np.repeat(grams[:, self.window], 2 * self.window)
                context = np.delete(grams, self.window, axis=1).reshape(-1)
                known = context >= 0
                pairs = (target[known], context[known])
                total += coo_matrix((np.ones(known.sum()), pairs), shape=shape).tocsr()
        return total

    @property
    def sizes(self) -> dict[str, int]:
        """``input_dim``, twice the number of known words."""
        return {"input_dim": 2 * self.vocab_size_}


def words_of(text: str) -> list[str]:
    """Return a text's words.

    Example:
        >>> from suexp.data.ngram_bags import words_of
        >>> words_of("It's a socket_server of 2 果蝇")
        ['it', 's', 'a', 'socket', 'server', 'of', '果', '蝇']
    """
    return WORD.findall(text.lower())


def _batched(texts: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """Yield the texts in groups of about AT_ONCE words, so that memory is bounded."""
    some: list[list[str]] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size >= AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some
