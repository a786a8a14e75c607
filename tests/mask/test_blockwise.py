import pytest

from suexp.mask import Blockwise, Causal


def test_a_query_sees_its_block_and_the_one_before() -> None:
    dense = Blockwise(4).dense(6, 6)
    assert dense is not None
    assert dense.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 1],
    ]


def test_a_short_text_is_seen_whole_and_decoding_sees_the_last_rows() -> None:
    short, causal = Blockwise(8).dense(8, 8), Causal().dense(8, 8)
    assert short is not None
    assert causal is not None
    assert (short == causal).all()
    whole, last = Blockwise(4).dense(7, 7), Blockwise(4).dense(2, 7)
    assert whole is not None
    assert last is not None
    assert (whole[-2:] == last).all()


@pytest.mark.parametrize("size", [0, 1, 7, -2])
def test_sizes_that_are_not_two_blocks_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"even and at least 2, not {size}"):
        Blockwise(size)
