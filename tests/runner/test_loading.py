from suexp.runner.loading import EpochSampler, StridedSampler


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


def test_evaluation_reads_every_row_once() -> None:
    shares = [list(StridedSampler(21, 4, rank, 2)) for rank in range(2)]
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(21))
    assert [len(share) for share in shares] == [len(StridedSampler(21, 4, r, 2)) for r in range(2)]
