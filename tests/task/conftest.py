from collections.abc import Callable, Iterator

import pytest
import pytorch_lightning as pl
import torch

from suexp.task.estimation import EstimationTask


class Counter:
    """Batches of row numbers, as data=counter gives them."""

    def __init__(self, samples: int, batch_size: int) -> None:
        self.parts = torch.arange(samples).split(batch_size)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        return iter([{"index": part} for part in self.parts])

    def __len__(self) -> int:
        return len(self.parts)


@pytest.fixture
def estimate() -> Callable[..., dict[str, float]]:
    """Run an estimation over batches of counters and return its final metrics."""

    def run(task: EstimationTask, samples: int = 1000, batch_size: int = 1000) -> dict[str, float]:
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.test(task, Counter(samples, batch_size), verbose=False)
        return task.final

    return run
