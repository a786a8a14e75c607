"""A split's rows as evaluations of several processes read them."""

from collections.abc import Iterator
from typing import Any

from suexp.job.batches import Numbered, StridedSampler, numbering


def evaluated(task: Any, rows: Any, size: int, processes: int = 1) -> Iterator[dict[str, Any]]:
    """Give the batches, those of the first process first."""
    collate = numbering(task.data.collate)
    for rank in range(processes):
        for numbers in StridedSampler(len(rows), size, rank, processes):
            yield collate(Numbered(rows).__getitems__(numbers))
