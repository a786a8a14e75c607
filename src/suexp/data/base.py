"""The contract of every data set. Nothing here imports torch at module level."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suexp.code.reach import digest
from suexp.component import Component

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datasets import Dataset
    from torch import Tensor

    from suexp.task.base import Task


class Data(Component):
    """Arrow tables with a fingerprint; the loaders around them are the runner's business.

    Features that options provide: ``text`` (rows hold ``tokens``), ``vectors`` (rows hold ``x``),
    ``labels`` (rows hold ``label``), ``counter`` (rows hold only their index). Vectors may be
    ``images``; ``discrete``, on a grid, where a density means nothing; or ``binary``, 0 and 1.

    Attributes:
        batch_size: rows a training step reads.
        eval_batch_size: rows an evaluation step reads.
        scale: of vectors that were integers plus noise: integers in one unit of ``x``; else None.
    """

    batch_size: int
    eval_batch_size: int
    scale: float | None = None

    def origins(self) -> list[str]:
        """Return the names of the runs that the rows are made by, in the config's ``sources``."""
        return []

    def adopt(self, origins: "Mapping[str, Task]") -> None:
        """Look at these runs, before anything is asked of the rows; the fingerprint may change.

        Args:
            origins: their tasks, trained, by name; perhaps others, too (see `suexp.origins`).

        Raises:
            UserError: one does not fit.
        """

    def splits(self) -> "dict[str, Dataset]":
        """Return ``train``, ``validation`` and ``test``, or those that there are; kept on disk."""
        raise NotImplementedError

    def collate(self, rows: list[dict[str, Any]]) -> "dict[str, Tensor]":
        """Return the batch of these rows; padded texts get ``keep``, True at real tokens."""
        raise NotImplementedError

    @property
    def sizes(self) -> dict[str, int]:
        """What a model must know: some of ``vocab_size``, ``input_dim``, ``num_classes``."""
        raise NotImplementedError

    def reads(self) -> list[Path]:
        """Return the local files and folders that the rows come from; cheap, and without torch.

        Raises:
            UserError: one that the config names does not exist.
        """
        return []

    def depends_on(self) -> Any:
        """Return what decides the rows beside the code, as JSON; cheap, and without building them.

        Settings, contents of files, versions of libraries; see `suexp.contents.content_hash`.
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return a hash that changes when the rows may: of `depends_on` and the code."""
        kind = type(self)
        code = digest([f"{kind.__module__}.{kind.__qualname__}"], [kind.__module__])
        return hashlib.sha256(json.dumps([self.depends_on(), code]).encode()).hexdigest()
