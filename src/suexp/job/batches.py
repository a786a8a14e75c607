"""From a data set to batches whose order is a function of (seed, epoch)."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from suexp.data.base import Data
from suexp.errors import UserError

# In so many parts of the training rows some are kept apart.
STRETCHES = 20

Collate = Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]


class EpochSampler(Sampler[list[int]]):
    """Batches of row numbers in an order that depends on seed and epoch alone.

    With several processes each reads its share of the very same global batches. ``start`` is the
    first batch of the next epoch to be read: a resumed run sets it. With ``whole`` an epoch ends
    with the rows that do not fill a batch; where they are fewer than the processes, they join the
    batch before. What is read for one step of an accumulated gradient is one batch (`join`), so
    that whatever counts batches counts steps.
    """

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self.rows, self.batch_size, self.seed = rows, min(batch_size, rows), seed
        self.batches = 1
        self.epoch, self.start = 0, 0
        self.rank, self.world_size = 0, 1
        self.whole = False

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; `suexp.job.checkpoint.Position` calls this before each."""
        self.epoch = epoch

    def rewind(self) -> None:
        """Begin again with the first batch of the first epoch."""
        self.epoch, self.start = 0, 0

    def join(self, batches: int) -> int:
        """Let a batch have the rows of so many, or of all of an epoch; return of how many."""
        self.batches = min(batches, self.rows // self.batch_size)
        return self.batches

    def __len__(self) -> int:
        full, rest = divmod(self.rows, self.batch_size * self.batches)
        return full + (self.whole and rest >= self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        start, self.start = self.start, 0
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        last, size = len(self) - 1, self.batch_size * self.batches
        for batch in range(start, last + 1):
            end = None if self.whole and batch == last else (batch + 1) * size
            rows = order[batch * size : end]
            yield rows[self.rank :: self.world_size].tolist()


class StridedSampler(Sampler[list[int]]):
    """All rows in order, in batches; with n processes, each takes every n-th batch.

    Each gets as many as the others, for which the batches may be smaller: a process that has none
    would let the others wait for it.
    """

    def __init__(self, rows: int, batch_size: int, rank: int, world_size: int) -> None:
        self.rows, self.batch_size = rows, batch_size
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        batches = -(-self.rows // self.batch_size)
        return -(-batches // self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        if self.world_size == 1:
            bounds = [*range(0, self.rows, self.batch_size), self.rows]
        else:
            parts = len(self) * self.world_size
            bounds = [self.rows * part // parts for part in range(parts + 1)]
        for start, end in list(itertools.pairwise(bounds))[self.rank :: self.world_size]:
            yield list(range(start, end))


def _apart(train: Any, fraction: float) -> dict[str, Any]:
    """Return the training rows without some, and these as rows of validation.

    They are the ends of `STRETCHES` of equal length. Rows of a class or a document often follow one
    another: the last rows of all would be no fair sample of them, and rows drawn one by one would
    have neighbours of the same text among those that are learned.
    """
    rows = 0 if train is None else len(train)
    apart = np.zeros(rows, dtype=bool)
    for start, end in itertools.pairwise(rows * part // STRETCHES for part in range(STRETCHES + 1)):
        apart[end - math.ceil(end * fraction) + math.ceil(start * fraction) : end] = True
    if not 0 < apart.sum() < rows:
        raise UserError(f"tune_fraction={fraction} of {rows} training rows leaves no rows apart")
    parts = {"train": ~apart, "validation": apart}
    return {split: train.select(np.flatnonzero(there)) for split, there in parts.items()}


class Numbered:
    """Rows that come with their numbers, which `numbering` puts into the batch."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, keys: list[int]) -> tuple[list[int], Any]:
        """Return the numbers and the rows of a batch; PyTorch's loaders call this."""
        return keys, self.rows.__getitems__(keys)


def numbering(collate: Collate) -> Callable[[tuple[list[int], Any]], dict[str, torch.Tensor]]:
    """Return what makes a batch of numbered rows: that of the rows, and ``index`` (B,)."""

    def numbered(found: tuple[list[int], Any]) -> dict[str, torch.Tensor]:
        numbers, rows = found
        return {**collate(rows), "index": torch.tensor(numbers)}

    return numbered


class Loading(pl.LightningDataModule):
    """Any `Data` behind Lightning's interface.

    Attributes:
        numbered: whether batches tell by ``index`` which rows of their split they hold.
    """

    numbered = False

    def __init__(self, data: Data, seed: int, tune_fraction: float = 0.0) -> None:
        super().__init__()
        self.data = data
        self.splits = data.splits()
        if tune_fraction:
            self.splits = {**self.splits, **_apart(self.splits.get("train"), tune_fraction)}
        rows = len(self.splits["train"]) if "train" in self.splits else 1
        self.sampler = EpochSampler(rows, getattr(data, "batch_size", 1), seed)

    def _loader(self, split: str, sampler: Sampler[list[int]]) -> DataLoader[Any]:
        rows: Any = self.splits[split]
        collate: Callable[[Any], Any] = self.data.collate
        if self.numbered:
            rows, collate = Numbered(rows), numbering(collate)
        return DataLoader(
            rows,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=0,
            # A loader draws a seed for its workers; an evaluation must not change the training's.
            generator=torch.Generator(),
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training batches."""
        if self.trainer is not None:
            self.sampler.rank = self.trainer.global_rank
            self.sampler.world_size = self.trainer.world_size
            if not self.sampler.whole and self.sampler.batch_size % self.sampler.world_size:
                raise UserError(
                    f"data.batch_size={self.sampler.batch_size} does not divide by the "
                    f"{self.sampler.world_size} processes; their gradients are averaged as equals"
                )
        return self._loader("train", self.sampler)

    def in_order(self, split: str) -> DataLoader[Any]:
        """Return a split's rows as an evaluation reads them, in their order."""
        rank = self.trainer.global_rank if self.trainer is not None else 0
        world_size = self.trainer.world_size if self.trainer is not None else 1
        size = getattr(self.data, "eval_batch_size", self.data.batch_size)
        if len(self.splits[split]) < world_size:
            raise UserError(
                f"the {split} split has {len(self.splits[split])} rows for {world_size} processes; "
                "use fewer (trainer.devices) or more data"
            )
        return self._loader(split, StridedSampler(len(self.splits[split]), size, rank, world_size))

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation batches."""
        return self.in_order("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test batches, or the only split's."""
        return self.in_order("test" if "test" in self.splits else next(iter(self.splits)))
