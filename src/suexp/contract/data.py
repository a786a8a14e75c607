"""What every data set keeps (see `suexp.data.base.Data`)."""

from typing import Any

from torch import Tensor

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, equal, expect, of_class
from suexp.data.base import Data

BASE = "suexp.data.base.Data"
ROWS = 4


def _batch(data: Any, split: Any) -> dict[str, Tensor]:
    batch: dict[str, Tensor] = data.collate([split[i] for i in range(min(ROWS, len(split)))])
    return batch


@vital
def derives_from_data(subject: Subject) -> None:
    """Its class is one."""
    of_class(subject, Data)


@vital
def has_a_fingerprint(subject: Subject) -> None:
    """The same for the same settings, whoever builds it."""
    one, other = subject.build().fingerprint(), subject.build().fingerprint()
    expect(one == other, "two of the same settings have other fingerprints; see depends_on")


@vital
def has_rows_and_batches(subject: Subject) -> None:
    """Splits of rows, which collate makes tensors of, one entry a row."""
    data = subject.build()
    expect(data.batch_size >= 1 and data.eval_batch_size >= 1, "a batch must have a row")
    splits = data.splits()
    known = {"train", "validation", "test"}
    expect(splits and splits.keys() <= known, f"splits are train, validation, test: {list(splits)}")
    for name, split in splits.items():
        expect(len(split) > 0, f"split {name} has no row")
        batch = _batch(data, split)
        expect(batch, f"split {name}: the batch is empty")
        for key, value in batch.items():
            expect(isinstance(value, Tensor), f"split {name}: {key} is no tensor")
            rows = min(ROWS, len(split))
            expect(len(value) == rows, f"split {name}: {key} has {len(value)} rows, not {rows}")


@vital
def rows_are_the_same_when_built_again(subject: Subject) -> None:
    """A run that goes on reads what it read before."""
    one, other = subject.build(), subject.build()
    theirs = other.splits()
    for name, split in one.splits().items():
        expect(len(theirs[name]) == len(split), f"split {name} has another number of rows")
        again = _batch(other, theirs[name])
        for key, value in _batch(one, split).items():
            equal(again[key], value, f"split {name}: {key} of the first rows differ")


@check
def says_what_a_model_must_know(subject: Subject) -> None:
    """Whole numbers by name."""
    for name, size in subject.build().sizes.items():
        expect(isinstance(size, int) and size >= 0, f"sizes: {name} is {size}")
