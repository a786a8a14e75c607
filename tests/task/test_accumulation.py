"""Batches that make a step give what one batch of all their rows would."""

from typing import Any

import pytest
import torch
from torch import Tensor

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.job.build import build
from suexp.method.base import Method, Skip

TEXT = ("model.dim=16", "model.num_layers=1", "model.dropout=0", "data.max_bytes=20000")
TASKS = {
    "rows": ("task=classification", "data=digits", "model=mlp", "model.dropout=0"),
    "tokens of a prefix": (
        *TEXT,
        "data.tokenizer=bytes",
        "data.block_size=16",
        "mask=prefix",
        "mask.length=4",
    ),
    "hidden tokens": (*TEXT, "task=masked_lm", "data.tokenizer=bytes", "data.block_size=16"),
    "tagged tokens": ("task=tagging", "model=conv_tagger", "model.dim=8", "data.max_bytes=20000"),
    "targets": ("task=seq2seq", *TEXT[:3], "data.tokenizer=bytes", "data.block_size=160"),
    "answers": (
        *("task=pair_mlm", "data.num_labeled=4", "data.num_train=40", "data.num_validation=20"),
        *("task.label_weight=3", *TEXT[:3], "data.tokenizer=bytes"),
    ),
    "pairs of texts": (
        *("task=matching", "model=bag_encoder", "model.dim=16", "model.dropout=0"),
        *("data.tokenizer=bytes", "data.block_size=16"),
    ),
}


def task_and_batch(name: str, rows: int = 8) -> tuple[Any, dict[str, Tensor]]:
    config = resolve([*TASKS[name], "threads=1"]).config
    torch.manual_seed(0)
    task: Any = build(config, instantiate(config["data"]))
    return task, task.data.collate(task.data.splits()["train"].__getitems__(list(range(rows))))


def step(task: Any, batch: dict[str, Tensor], batches: int) -> tuple[float, Tensor]:
    """Return the loss and the gradient that a step leaves behind."""
    torch.manual_seed(1)
    task.zero_grad()
    task.batches_per_step = batches
    loss = task.training_step(batch, 0)
    task.backward(loss)
    grads = [p.grad.flatten() for p in task.parameters() if p.grad is not None]
    return loss.item(), torch.cat(grads)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "pairs of texts"])
def test_loss_and_gradient_are_those_of_one_batch(name: str) -> None:
    task, batch = task_and_batch(name)
    loss, gradient = step(task, batch, 1)
    for batches in (2, 4):
        found, summed = step(task, batch, batches)
        assert found == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(summed, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["hidden tokens", "tagged tokens", "targets", "answers"])
def test_batches_count_by_their_tokens(name: str) -> None:
    """The mean of the batches' means is another number."""
    task, batch = task_and_batch(name)
    torch.manual_seed(1)
    task.batches_per_step = 4
    parts = task.parts(task.asked(batch))
    means = [task.objective(part).item() for part in parts]
    counts = [float(task.terms(part)) for part in parts]
    assert len({*counts}) > 1
    found, _ = step(task, batch, 4)
    expected = sum(n * mean for n, mean in zip(counts, means, strict=True)) / sum(counts)
    assert found == pytest.approx(expected, rel=1e-6)
    assert abs(sum(means) / 4 - expected) > 1e-5


def test_contrasts_are_those_of_each_batch() -> None:
    task, batch = task_and_batch("pairs of texts")
    parts = [{name: x[at : at + 2] for name, x in batch.items()} for at in (0, 2, 4, 6)]
    expected = sum(task.objective(part).item() for part in parts) / 4
    assert step(task, batch, 4)[0] == pytest.approx(expected, rel=1e-6)


class Choosy(Method):
    """Skips the batches that begin with these rows."""

    def __init__(self, *rows: int) -> None:
        super().__init__()
        self.rows = rows

    def objective(self, task: Any, batch: Any, inner: Any) -> Tensor:
        if task.first_row in self.rows:
            raise Skip
        return inner(batch)  # type: ignore[no-any-return]


@pytest.mark.parametrize("skipped", [(2,), (6,), (0, 6)])
def test_a_batch_that_is_skipped_adds_nothing(skipped: tuple[int, ...]) -> None:
    task, batch = task_and_batch("rows")
    task.wrap([Choosy(*skipped)])
    found, summed = step(task, batch, 4)
    kept = [row for row in range(8) if row // 2 * 2 not in skipped]
    task.wrap([])
    loss, gradient = step(task, {name: x[kept] for name, x in batch.items()}, 1)
    assert found == pytest.approx(loss * len(kept) / 8, rel=1e-5)
    torch.testing.assert_close(summed, gradient * len(kept) / 8, rtol=1e-4, atol=1e-6)


def test_a_step_is_skipped_with_all_of_its_batches() -> None:
    task, batch = task_and_batch("rows")
    task.wrap([Choosy(0, 2, 4, 6)])
    task.batches_per_step = 4
    assert task.training_step(batch, 0) is None


def test_half_precision_does_not_round_the_shares() -> None:
    task, batch = task_and_batch("rows", 6)
    task, batch = task.to(torch.bfloat16), {**batch, "x": batch["x"].bfloat16()}
    task.batches_per_step = 3
    loss = task.training_step(batch, 0)
    parts = [task.objective(part).item() for part in task.parts(batch)]
    assert loss.item() == pytest.approx(sum(parts) / 3, rel=1e-6)
