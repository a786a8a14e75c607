from types import SimpleNamespace

import pytest

from suexp.data.counter import Counter
from suexp.errors import UserError
from suexp.job.batches import EpochSampler, Loading, StridedSampler


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


def loading(rows: int, batch_size: int) -> Loading:
    found = Loading(Counter(num_samples=rows, batch_size=batch_size), 0)
    found.trainer = SimpleNamespace(global_rank=0, world_size=2)
    return found


def test_what_several_processes_cannot_share_is_one_line() -> None:
    with pytest.raises(UserError, match="test split has 1 rows for 2 processes"):
        loading(1, 4).test_dataloader()
    odd = loading(20, 5)
    odd.splits["train"] = odd.splits["test"]
    odd.sampler = EpochSampler(20, 5, 0)
    with pytest.raises(UserError, match=r"data\.batch_size=5 does not divide by the 2 processes"):
        odd.train_dataloader()
