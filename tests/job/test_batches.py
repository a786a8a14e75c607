import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from pytorch_lightning.callbacks import Callback

from suexp.config.compose import resolve
from suexp.data.counter import Counter
from suexp.data.digits import Digits
from suexp.errors import UserError
from suexp.job.batches import EpochSampler, Loading, StridedSampler
from suexp.job.run import execute
from suexp.store.spec import RunSpec


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first, again = EpochSampler(100, 8, seed=3), EpochSampler(100, 8, seed=3)
    assert list(first) == list(again)
    again.set_epoch(1)
    assert list(first) != list(again)
    assert list(first) != list(EpochSampler(100, 8, seed=4))


def test_an_epoch_reads_no_row_twice() -> None:
    rows = [row for batch in EpochSampler(100, 8, seed=0) for row in batch]
    assert len(rows) == 96
    assert len(set(rows)) == 96


def test_start_skips_batches_once() -> None:
    sampler = EpochSampler(40, 8, seed=0)
    whole = list(sampler)
    sampler.start = 3
    assert list(sampler) == whole[3:]
    assert list(sampler) == whole


def test_processes_share_the_same_global_batches() -> None:
    whole = list(EpochSampler(64, 8, seed=1))
    shares = []
    for rank in range(2):
        sampler = EpochSampler(64, 8, seed=1)
        sampler.rank, sampler.world_size = rank, 2
        shares.append(list(sampler))
    for batch, a, b in zip(whole, *shares, strict=True):
        assert sorted(batch) == sorted(a + b)
        assert len(a) == len(b) == 4


def test_fewer_rows_than_a_batch_make_one_batch() -> None:
    assert [len(batch) for batch in EpochSampler(5, 8, seed=0)] == [5]


@pytest.mark.parametrize(("rows", "size"), [(21, 4), (3, 8), (2, 1), (9, 3), (17, 16)])
def test_processes_evaluate_every_row_once_in_as_many_batches(rows: int, size: int) -> None:
    shares = [list(StridedSampler(rows, size, rank, 2)) for rank in range(2)]
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(rows))
    assert len(shares[0]) == len(shares[1]) == len(StridedSampler(rows, size, 0, 2)) > 0
    assert all(0 < len(batch) <= size for share in shares for batch in share)


def test_one_process_evaluates_full_batches() -> None:
    assert [len(batch) for batch in StridedSampler(21, 4, 0, 1)] == [4, 4, 4, 4, 4, 1]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_batch_may_tell_which_rows_it_holds(processes: int) -> None:
    data = Digits(batch_size=8)
    whole = data.splits()
    for split in ("train", "validation"):
        plain, numbered = Loading(data, 3), Loading(data, 3)
        numbered.numbered = True
        for item in (plain, numbered):
            item.trainer = SimpleNamespace(global_rank=processes - 1, world_size=processes)
        loaders = [
            item.train_dataloader() if split == "train" else item.val_dataloader()
            for item in (plain, numbered)
        ]
        for ours, theirs in zip(*loaders, strict=True):
            assert [*theirs] == ["x", "label", "index"]
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
            rows = whole[split][theirs["index"].tolist()]
            assert torch.equal(theirs["x"], torch.as_tensor(np.stack(rows["x"])))


def test_a_counters_rows_are_their_numbers() -> None:
    item = Loading(Counter(num_samples=7, batch_size=3), 0)
    item.numbered = True
    assert [batch["index"].tolist() for batch in item.test_dataloader()] == [
        [0, 1, 2],
        [3, 4, 5],
        [6],
    ]


class Seen(Callback):
    """Remembers what the batches hold."""

    asks = {"index"}
    rows: ClassVar[list[int]] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, number: int) -> None:
        self.rows.extend(batch["index"].tolist())


@pytest.mark.slow
def test_who_asks_gets_the_numbers_and_the_order_stays(tmp_path: Path) -> None:
    config = resolve(
        [
            *("task=classification", "data=digits", "model=mlp", "model.dim=8", "seed=5"),
            *("trainer=cpu", "trainer.max_steps=6", "trainer.accumulate_grad_batches=2"),
            *("trainer.enable_progress_bar=false", "threads=1", f"out={tmp_path}"),
        ]
    ).config
    plain = execute(RunSpec.of(config))
    config["callbacks"] = {"seen": {"_target_": "tests.job.test_batches.Seen"}}
    config["allow_targets"] = ["tests"]
    Seen.rows.clear()
    asked = execute(RunSpec.of(config))
    assert asked.status == plain.status == "finished", asked.error
    assert asked.metrics["val/loss"] == plain.metrics["val/loss"]
    sampler = EpochSampler(1400, 64, 5)
    sampler.join(2)
    assert Seen.rows == list(itertools.chain.from_iterable(itertools.islice(sampler, 6)))


@pytest.mark.slow
def test_each_epoch_has_an_order_of_its_own(tmp_path: Path) -> None:
    config = resolve(
        [
            *("task=classification", "data=digits", "model=mlp", "model.dim=8", "seed=5"),
            *("trainer=cpu", "trainer.max_steps=50", "data.batch_size=64"),
            *("trainer.enable_progress_bar=false", "threads=1", f"out={tmp_path}"),
        ]
    ).config
    config["callbacks"] = {"seen": {"_target_": "tests.job.test_batches.Seen"}}
    config["allow_targets"] = ["tests"]
    Seen.rows.clear()
    assert execute(RunSpec.of(config)).status == "finished"
    expected: list[int] = []
    for epoch in range(3):  # of 21 batches
        sampler = EpochSampler(1400, 64, 5)
        sampler.set_epoch(epoch)
        expected += itertools.chain.from_iterable(sampler)
    assert Seen.rows == expected[: 50 * 64]


def loading(rows: int, batch_size: int) -> Loading:
    found = Loading(Counter(num_samples=rows, batch_size=batch_size), 0)
    found.trainer = SimpleNamespace(global_rank=0, world_size=2)
    return found


@pytest.mark.parametrize(("rows", "fraction"), [(978, 0.1), (31, 0.1), (7, 0.3), (1000, 0.5)])
def test_rows_to_choose_values_on_are_a_fair_sample_of_the_training_rows(
    rows: int, fraction: float
) -> None:
    """Rows of a class follow one another; the last tenth would be of one class."""
    labels = [9 * row // rows for row in range(rows)]
    train = Dataset.from_dict({"row": range(rows), "label": labels})
    data: Any = SimpleNamespace(splits=lambda: {"train": train, "test": train}, batch_size=2)
    splits = Loading(data, 0, fraction).splits
    kept, apart = (splits[name]["row"][:] for name in ("train", "validation"))
    assert sorted([*kept, *apart]) == [*range(rows)]
    assert len(apart) == math.ceil(rows * fraction)
    assert splits["test"] is train
    share = np.bincount(splits["validation"]["label"][:], minlength=9) / len(apart)
    if rows > 900:
        assert abs(share - 1 / 9).max() < 0.06
        begins = [row for row in apart if row - 1 not in {*apart}]
        assert len(begins) == 20  # in one piece each: few rows have a neighbour that is learned


def test_a_row_alone_cannot_be_shared() -> None:
    train = Dataset.from_dict({"row": [0]})
    data: Any = SimpleNamespace(splits=lambda: {"train": train}, batch_size=2)
    with pytest.raises(UserError, match=r"tune_fraction=0\.5 of 1 training rows leaves no rows"):
        Loading(data, 0, 0.5)


def test_what_several_processes_cannot_share_is_one_line() -> None:
    with pytest.raises(UserError, match="test split has 1 rows for 2 processes"):
        loading(1, 4).test_dataloader()
    odd = loading(20, 5)
    odd.splits["train"] = odd.splits["test"]
    odd.sampler = EpochSampler(20, 5, 0)
    with pytest.raises(UserError, match=r"data\.batch_size=5 does not divide by the 2 processes"):
        odd.train_dataloader()
