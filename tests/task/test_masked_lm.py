"""What masked language modelling hides."""

from typing import Any

import pytest
import torch

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.job.build import build
from tests.support.batches import evaluated

ASKED = ("task=masked_lm", "data=pydoc", "data.tokenizer=bytes", "data.max_bytes=60000")
SMALL = ("data.block_size=16", "model.dim=16", "model.num_heads=2", "threads=1")


@pytest.fixture(scope="module")
def task() -> Any:
    config = resolve([*ASKED, *SMALL]).config
    return build(config, instantiate(config["data"])).eval()


def validated(task: Any, size: int, world: int = 1) -> dict[int, list[int]]:
    """Return what each validation row is asked, by its number, as a run in batches finds it."""
    rows = task.data.splits()["validation"].select(range(50))
    found = {}
    for batch in evaluated(task, rows, size, world):
        _, target = task.questions(batch["tokens"], batch["index"])
        found |= dict(zip(batch["index"].tolist(), target.tolist(), strict=True))
    assert sorted(found) == [*range(50)]
    return found


def test_what_a_row_is_asked_does_not_depend_on_batches_or_devices(task: Any) -> None:
    found = validated(task, 50)
    assert validated(task, 7) == found
    assert validated(task, 8, world=2) == found
    assert len({tuple(x != -100 for x in row) for row in found.values()}) > 40  # each its own


def test_a_run_validates_by_these_rows(task: Any) -> None:
    torch.manual_seed(1)
    losses = []
    for size in (50, 7):
        rows = task.data.splits()["validation"].select(range(50))
        for batch in evaluated(task, rows, size):
            with torch.no_grad():
                task.validation_step(batch, 0)
        losses.append((float(task.val_loss.compute()), float(task.val_accuracy.compute())))
        task.val_loss.reset()
        task.val_accuracy.reset()
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_shares(task: Any) -> None:
    tokens = torch.randint(0, 256, (4000, 17), generator=torch.Generator().manual_seed(0))
    for rows in (None, torch.arange(4000)):
        inputs, target = task.questions(tokens, rows)
        chosen = target != -100
        assert chosen.float().mean() == pytest.approx(0.15, abs=0.005)
        hidden, same = inputs == task.mask_id, inputs == tokens[:, :-1]
        assert hidden[chosen].float().mean() == pytest.approx(0.8, abs=0.02)
        assert same[chosen].float().mean() == pytest.approx(0.1, abs=0.02)
        assert same[~chosen].all()
        other = inputs[chosen & ~hidden & ~same]
        assert other.max() < task.data.sizes["vocab_size"]
        assert len(other.unique()) > 200


def test_training_draws_anew(task: Any) -> None:
    tokens = task.data.splits()["validation"][:8]["tokens"]
    tokens = torch.as_tensor(tokens).long()
    torch.manual_seed(0)
    first, second = (task.questions(tokens)[1] for _ in range(2))
    assert not torch.equal(first, second)
