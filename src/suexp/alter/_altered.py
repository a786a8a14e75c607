"""A data set with alterations, which is itself a data set."""

import hashlib
import json
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suexp.alter.base import Alter
from suexp.code.reach import digest
from suexp.data.base import Data

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Altered(Data):
    """The rows of a data set after alterations; all else is the data set's.

    Args:
        data: the data set.
        alters: what is done to its rows, the first of them first.
    """

    def __init__(self, data: Data, alters: Sequence[Alter]) -> None:
        self._data, self._alters = data, list(alters)
        self._splits: dict[str, Any] | None = None
        self.scale = data.scale

    def __getattr__(self, name: str) -> Any:
        """Ask the data set for what stands here neither."""
        if name.startswith("_"):  # also while it is copied, without attributes yet
            raise AttributeError(name)
        return getattr(self._data, name)

    def splits(self) -> dict[str, Any]:
        """Return the altered splits."""
        if self._splits is None:
            self._splits = self._altered()
        return self._splits

    def _altered(self) -> dict[str, Any]:
        from datasets.table import InMemoryTable

        from suexp.data.rows import Rows

        tables = {
            split: (rows if rows._indices is None else rows.flatten_indices()).data.table
            for split, rows in self._data.splits().items()
        }
        for alter in self._alters:
            tables = alter.apply_all(tables, partial(_generator, alter), self._data)
        mark = self.fingerprint()[:20]
        return {
            split: Rows(
                arrow_table=InMemoryTable(table), fingerprint=f"{mark}-{split}"
            ).with_format("numpy")
            for split, table in tables.items()
        }

    @property
    def tokenizer_(self) -> Any:
        """What makes tokens of texts, as the alterations leave it."""
        found = self._data.tokenizer_  # type: ignore[attr-defined]
        self.splits()
        for alter in self._alters:
            found = alter.tokenizer(found)
        return found

    def collate(self, rows: list[dict[str, Any]]) -> "dict[str, Tensor]":
        """Return the batch of these rows, with the columns that were added."""
        import numpy as np
        import torch

        batch = self._data.collate(rows)
        for name in (name for alter in self._alters for name in alter.columns):
            batch[name] = torch.from_numpy(np.array([row[name] for row in rows]))
        return batch

    @property
    def sizes(self) -> dict[str, int]:
        """What a model must know."""
        return self._data.sizes

    def reads(self) -> list[Path]:
        """Return the local files that the rows come from."""
        return self._data.reads()

    def depends_on(self) -> Any:
        """Return what decides the rows: the data set's own, and what is done to them."""
        return [self._data.depends_on(), *([_name(a), _arguments(a)] for a in self._alters)]

    def fingerprint(self) -> str:
        """Return a hash that changes when the rows may."""
        changes = [[_name(a), _arguments(a)] for a in self._alters]
        code = digest([_name(a) for a in self._alters])
        facts = json.dumps([self._data.fingerprint(), changes, code])
        return hashlib.sha256(facts.encode()).hexdigest()


def _generator(alter: Alter, name: str) -> "np.random.Generator":
    import numpy as np

    seeds = [zlib.crc32(part.encode()) for part in (type(alter).__name__, name)]
    return np.random.default_rng([alter.seed, *seeds])


def _arguments(alter: Alter) -> dict[str, Any]:
    """Return what it was built with, without what it has found in the rows."""
    return {name: value for name, value in vars(alter).items() if not name.startswith("_")}


def _name(alter: Alter) -> str:
    return f"{type(alter).__module__}.{type(alter).__qualname__}"
