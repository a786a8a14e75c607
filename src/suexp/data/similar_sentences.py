"""Similar sentences with no download: those of one module of the standard library."""

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.cache import cached
from suexp.data.clusters import Clusters
from suexp.data.document import Document, of_split, share
from suexp.data.text import Text, one_of
from suexp.errors import between

SHORTEST, LONGEST = 4, 140  # words and characters of a sentence; longer ones are lists, grammars
BREAK = re.compile(r"\n[ \t]*\n|(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bcf\.)(?<=[.!?])\s+(?=[A-Z])")
WORD = re.compile(r"[^\W_]+")
CODE = re.compile(r">>>|[{}=]{2}|\w\(.*\).*\w\(|^[^A-Za-z]*$")
QUOTED = re.compile(
    r"\"{3}.*?\"{3}|'{3}.*?'{3}|^[ \t]*[\"'](?![\"']{2})[^\n]*$", re.DOTALL | re.MULTILINE
)
COMMENT = re.compile(r"^[ \t]*#[ \t]*")
LINES = 300  # of a module's code, so that the largest ones do not take all the time
BLOCK = 512  # sentences of a module that are compared with the others at once

Pair = tuple[str, str, str]  # module, sentence, sentence


class SimilarSentences(Text):
    r"""Pairs of similar sentences, mined without labels, or sentences alone to be restored.

    A pair is two sentences of one document (a module's docstrings, or a topic of ``pydoc``) whose
    sets of character trigrams have a Jaccard similarity $|A \cap B| / |A \cup B|$ in
    [min_similarity, max_similarity) and whose sets of words one of min_words or more: the second
    scheme of the post. Pairs that share a sentence are one cluster; whole clusters are held out.
    Similar is not equal in meaning: "Open the file" and "Close the file" are such a pair.

    ``kind=similar``: the rows of `suexp.data.both_ways`, each pair in both directions.
    ``kind=seq2seq``: every sentence, also those without a partner, as its own target (see
    `suexp.data.joining`), so that with method=source_noise a model learns to restore it: denoising
    autoencoding. Both kinds share tokenizer and split.

    Post: https://kexue.fm/archives/8454; on restoring Lewis et al., BART, arXiv:1910.13461.

    Args:
        kind: ``similar`` or ``seq2seq``.
        general: train on as many pairs of another kind of text as well, lines of code and of
            comments in one module; what is held out stays the same. For ``kind=similar``.
        min_similarity: the least similarity of trigrams.
        max_similarity: more similar sentences are copies.
        min_words: the least similarity of words.
        tokenizer: ``bpe``, trained on all training sentences of docstrings, or ``bytes``.
        vocab_size: tokens of the BPE, the 3 special ones included; the bytes always have 259.
        block_size: the most tokens of a row, which holds both sentences.
        batch_size: pairs of a training step; each is two rows.
        eval_batch_size: pairs of an evaluation step.
        val_fraction: share of the clusters that is held out.
        max_bytes: the most training text, in bytes; null: all.
        truncate: cut sentences that are too long; false: refuse them.
        begin: a row begins with a token of its own, whose state is the sentence's vector.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {
        "text",
        "similar_pairs if kind=similar",
        "targets if kind=seq2seq",
    }
    refuses: ClassVar[dict[str, str]] = {
        "task=causal_lm": "its rows are sentences or pairs, not packed blocks; use data=pydoc",
        "task=masked_lm": "its rows are sentences or pairs, not packed blocks; use data=pydoc",
    }

    def __init__(
        self,
        kind: Literal["similar", "seq2seq"] = "similar",
        general: bool = False,
        min_similarity: float | int = 0.4,
        max_similarity: float | int = 0.95,
        min_words: float | int = 0.5,
        tokenizer: Literal["bpe", "bytes"] = "bpe",
        vocab_size: int = 2048,
        block_size: int = 96,
        batch_size: int = 24,
        eval_batch_size: int = 64,
        val_fraction: float = 0.17,
        max_bytes: int | None = None,
        truncate: bool = True,
        begin: bool = True,
    ) -> None:
        self.kind = one_of("kind", kind, ("similar", "seq2seq"))
        between("[0, 1]", min_similarity=min_similarity, max_similarity=max_similarity)
        between("[0, 1]", min_words=min_words)
        if not min_similarity < max_similarity:
            raise ValueError(
                f"data.min_similarity {min_similarity} must be below data.max_similarity "
                f"{max_similarity}"
            )
        if general and kind != "similar":
            raise ValueError("data.general=true adds pairs; use data.kind=similar")
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=max_bytes,
            truncate=truncate,
            begin=begin,
        )
        self.general = general
        self.limits = (float(min_similarity), float(max_similarity), float(min_words))

    def documents(self, split: str) -> Iterator[Document]:
        """Return the split's pairs, or its sentences."""
        if self.kind == "seq2seq":
            yield from of_split(self._sentences(), split, self.val_fraction)
            return
        yield from of_split(self._pairs("docstrings"), split, self.val_fraction)
        if self.general and split == "train":
            wanted = len(_mined("docstrings", *self.limits))
            held_out = of_split(self._sentences(), "validation", self.val_fraction)
            held = {doc.text for doc in held_out}
            found = [doc for doc in self._pairs("code") if held.isdisjoint(doc.texts)]
            found.sort(key=lambda doc: share("".join(doc.texts), "order"))
            yield from of_split(found[:wanted], split, self.val_fraction)

    def tokenizer_documents(self) -> Iterator[Document]:
        """Return the docstrings' sentences of the training split, whatever the kind."""
        return of_split(self._sentences(), "train", self.val_fraction)

    def _pairs(self, source: str) -> Iterator[Document]:
        clusters = _clusters(source, *self.limits)
        for module, a, b in _mined(source, *self.limits):
            yield Document(clusters.name(a), a, where=module, other=b)

    def _sentences(self) -> Iterator[Document]:
        clusters = _clusters("docstrings", *self.limits)
        for module, found in sentences("docstrings").items():
            for text in found:
                yield Document(clusters.name(text), text, where=module, other=text)

    def source(self) -> Any:
        """Return the standard library's version, names and sizes, hashed, and what is a pair."""
        return [corpus.key(), self.general, self.limits]


@functools.cache
def sentences(source: str) -> dict[str, list[str]]:
    """Return document -> its sentences, each only where it first occurs.

    Args:
        source: ``docstrings``, with the topics of pydoc, or ``code``, lines of code and comments.
    """
    texts, parts = (
        (corpus.documentation().items(), split)
        if source == "docstrings"
        else (corpus.code(), _lines)
    )
    seen: set[str] = set()
    found = {}
    for name, text in sorted(texts):
        if name.startswith("encodings/"):  # the codecs' docstrings are copies of one
            continue
        new = dict.fromkeys(part for part in parts(text) if part not in seen)
        seen.update(new)
        if new:
            found[name] = list(new)
    return found


def _lines(code: str) -> list[str]:
    """Return the first lines of code and of comments that are as long as sentences."""
    code = QUOTED.sub("", code)  # docstrings, whose sentences may be held out
    lines = (" ".join(COMMENT.sub("", line).split()) for line in code.splitlines())
    return [line for line in lines if _fits(line)][:LINES]


def split(text: str) -> list[str]:
    """Return a text's sentences, with single blanks between their words; code is left out."""
    parts = (" ".join(part.split()) for part in BREAK.split(text))
    return [part for part in parts if _fits(part) and not CODE.search(part)]


def _fits(text: str) -> bool:
    return len(text.split()) >= SHORTEST and len(text) <= LONGEST


@functools.cache
def _mined(source: str, low: float, high: float, words: float) -> list[Pair]:
    """Return the pairs of all documents; kept on disk."""
    patterns = [pattern.pattern for pattern in (BREAK, WORD, CODE, QUOTED, COMMENT)]
    rule = [*patterns, SHORTEST, LONGEST, LINES, low, high, words]
    name = hashlib.sha256(json.dumps([corpus.key(), source, rule]).encode()).hexdigest()[:16]

    def write(folder: Path) -> None:
        found = [
            (module, some[i], some[j])
            for module, some in sentences(source).items()
            for i, j in similar(some, low, high, words)
        ]
        (folder / "pairs.json").write_text(json.dumps(found), encoding="utf-8")

    text = (cached(f"similar-{name}", write) / "pairs.json").read_text(encoding="utf-8")
    return [(module, a, b) for module, a, b in json.loads(text)]


@functools.cache
def _clusters(source: str, low: float, high: float, words: float) -> Clusters:
    return Clusters((a, b) for _, a, b in _mined(source, low, high, words))


def similar(
    texts: Sequence[str], low: float, high: float, words: float
) -> Iterator[tuple[int, int]]:
    """Yield the places i < j of texts that are similar but no copies.

    Args:
        texts: the sentences of a document, m of them.
        low: the least Jaccard similarity of their character trigrams.
        high: that from which on they are copies.
        words: the least Jaccard similarity of their words.
    """
    import numpy as np

    if len(texts) < 2:
        return
    lower = [text.lower() for text in texts]
    trigrams = _table([{text[i : i + 3] for i in range(len(text) - 2)} for text in lower])
    bags = _table([set(WORD.findall(text)) for text in lower])
    for start in range(0, len(texts), BLOCK):
        near = _jaccard(trigrams, start)
        hit = (near >= low) & (near < high) & (_jaccard(bags, start) >= words)
        first, second = np.nonzero(hit)
        for i, j in zip((first + start).tolist(), second.tolist(), strict=True):
            if i < j:
                yield i, j


def _table(sets: Sequence[set[str]]) -> Any:
    """Return which of all elements each set has, (m, elements), as numbers."""
    import numpy as np

    place = {element: i for i, element in enumerate(sorted(set().union(*sets)))}
    table = np.zeros((len(sets), max(len(place), 1)), dtype=np.float32)
    for row, some in zip(table, sets, strict=True):
        row[[place[element] for element in some]] = 1
    return table


def _jaccard(table: Any, start: int) -> Any:
    """Return the similarities of `BLOCK` sets to all, (block, m)."""
    import numpy as np

    sizes = table.sum(1)
    common = table[start : start + BLOCK] @ table.T
    return common / np.maximum(sizes[start : start + BLOCK, None] + sizes - common, 1)
