"""Pairs of similar texts as rows in both directions: a to b, and b to a."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suexp.data.clusters import Clusters
from suexp.data.document import Document
from suexp.data.layout import Layout, Splits, padded
from suexp.data.pairing import MATCHES
from suexp.data.tokenizer import Tokenizer
from suexp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2**12  # pairs that are handed on at a time


class BothWays(Layout):
    """Two rows a pair, ``b x e y e`` and ``b y e x e``, with the tokenizer's begin b, if any.

    Rows 2i and 2i + 1 of a batch of B pairs are partners whatever order the pairs come in, for a
    row of the table is a pair. ``tokens`` (2B, n), ``keep``, ``segments`` and ``prefix_length``
    are those of `suexp.data.joining`, ``text`` (2B,) tells equal sources by equal numbers, and
    ``cluster`` (2B,) the sources that pairs join, directly or through others. Pairs with the label
    0 are left out.
    """

    def prepare(self, folder: Path, documents: Splits, tokenizer: Tokenizer) -> dict[str, Any]:
        """Write the rows; count pairs, sentences and clusters.

        Raises:
            UserError: a split without a pair, an empty or too long text, a label that is neither 0
                nor 1.
        """
        from suexp.data.rows import write_rows

        splits = {}
        for split, begin in documents.items():
            pairs = [doc for doc in begin() if _matches(doc)]
            texts = dict.fromkeys(chain.from_iterable(doc.texts for doc in pairs))
            numbers = {text: number for number, text in enumerate(texts)}
            clusters = Clusters((doc.text, doc.other or "") for doc in pairs)
            names = {text: numbers[clusters.name(text)] for text in texts}
            rows = write_rows(
                folder / f"{split}.arrow", self._tables(pairs, tokenizer, numbers, names)
            )
            if not rows:
                raise UserError(f"the {split} split has no pair of texts; give it some")
            counts = {"sentences": len(texts), "clusters": len(set(names.values()))}
            splits[split] = {"documents": rows, "rows": rows} | counts
        return {"splits": splits}

    def _tables(
        self,
        pairs: Sequence[Document],
        tokenizer: Tokenizer,
        numbers: dict[str, int],
        clusters: dict[str, int],
    ) -> Iterator[dict[str, Any]]:
        # Each of the two must fit as a target: half of what the tokens around them leave.
        room = (self.block_size - len(tokenizer.begin) - 2) // 2
        if room < 1:
            raise UserError(f"data.block_size {self.block_size} leaves no room for two texts")
        documents = iter(pairs)
        while batch := list(islice(documents, ROWS)):
            table: dict[str, Any] = {}
            for side, texts in (
                ("a", [doc.text for doc in batch]),
                ("b", [doc.other or "" for doc in batch]),
            ):
                found = tokenizer.encode_batch(texts)
                for doc, ids in zip(batch, found, strict=True):
                    _check(doc, len(ids), room, self.block_size, self.truncate)
                table[f"tokens_{side}"] = [ids[:room] for ids in found]
                table[f"text_{side}"] = np.array([numbers[text] for text in texts])
            table["cluster"] = np.array([clusters[doc.text] for doc in batch])
            yield table

    def collate(self, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> "dict[str, Tensor]":
        """Return the batch (see the class)."""
        import torch

        begin = np.array(tokenizer.begin, dtype=np.int32)
        end = np.array([tokenizer.eot_id], dtype=np.int32)
        joined, prefix = [], []
        for row in rows:
            for x, y in (("tokens_a", "tokens_b"), ("tokens_b", "tokens_a")):
                joined.append(np.concatenate((begin, row[x], end, row[y], end)))
                prefix.append(len(begin) + len(row[x]) + 1)
        tokens, keep = padded(joined, tokenizer.pad_id)
        lengths = np.array(prefix, dtype=np.int64)
        segments = keep & (np.arange(tokens.shape[1]) >= lengths[:, None])
        facts = {
            "tokens": tokens,
            "keep": keep,
            "segments": segments.astype(np.int64),
            "prefix_length": lengths,
            "text": np.array([row[f"text_{side}"] for row in rows for side in "ab"]),
            "cluster": np.repeat(np.array([row["cluster"] for row in rows]), 2),
        }
        return {name: torch.from_numpy(value) for name, value in facts.items()}


def _matches(doc: Document) -> bool:
    """Tell whether a document is a pair of similar texts: all are that have no label."""
    if doc.label is None:
        return True
    if doc.label not in MATCHES:
        raise UserError(
            f"{doc.where or doc.key}: label {doc.label!r} of a pair; write 1 where the texts "
            "match, else 0"
        )
    return MATCHES[doc.label]


def _check(doc: Document, length: int, room: int, block_size: int, truncate: bool) -> None:
    where = doc.where or doc.key
    if length == 0:
        raise UserError(f"{where}: a text of the pair is empty; give it one, or leave the row out")
    if length > room and not truncate:
        raise UserError(
            f"{where}: a text of {length} tokens is longer than the {room} that data.block_size "
            f"{block_size} leaves each of the two; raise it, or set data.truncate=true"
        )
