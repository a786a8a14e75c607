import pytest
import torch

from suexp.mask import Independent, Padding, UniAE


def test_tables_of_three_and_three() -> None:
    closed = Independent(3).dense(6, 6)
    opened = UniAE(3).dense(6, 6)
    assert closed is not None
    assert opened is not None
    assert closed.int().tolist() == [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1, 1],
    ]
    assert opened[:, 0].all()
    assert torch.equal(opened[:, 1:], closed[:, 1:])


@pytest.mark.parametrize("half", [1, 2, 5, 9])
def test_they_are_the_authors(half: int) -> None:
    """uniae_mask of github.com/bojone/univae: by cumulated segment numbers, first=False, True."""
    width = half + 4
    segments = torch.cat((torch.zeros(half), torch.ones(4)))[None]
    index = segments.cumsum(1)
    same = segments[:, None, :] == segments[:, :, None]
    past = index[:, None, :] <= index[:, :, None]
    independent = same & past
    first = torch.arange(width) == 0
    for mask, expected in ((Independent(half), independent), (UniAE(half), independent | first)):
        assert torch.equal(mask.dense(width, width), expected[0])


def test_rows_of_a_cache_are_the_last_ones() -> None:
    for mask in (Independent(3), UniAE(3)):
        whole, last = mask.dense(7, 7), mask.dense(2, 7)
        assert whole is not None
        assert torch.equal(whole[-2:], last)
        mask.check_decoding()


def test_padding_is_hidden_from_both_texts() -> None:
    keep = torch.tensor([[True, True, False, True, True, False]])
    table = (UniAE(3) & Padding(keep)).dense(6, 6)
    assert table is not None
    assert table[0, 0, :, 2].count_nonzero() == table[0, 0, :, 5].count_nonzero() == 0
    assert table[0, 0, 4].int().tolist() == [1, 0, 0, 1, 1, 0]


def test_no_token_is_refused() -> None:
    with pytest.raises(ValueError, match="half must be at least 1, not 0"):
        UniAE(0)
