import pytest
import torch

from suexp.mask import Causal, Window


def test_causal_window_is_a_band() -> None:
    dense = Window(2).dense(4, 4)
    assert dense is not None
    assert dense.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]


def test_symmetric_window() -> None:
    dense = Window(2, causal=False).dense(3, 3)
    assert dense is not None
    assert dense.int().tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]


def test_size_one_sees_only_itself_and_a_large_one_everything_before() -> None:
    assert torch.equal(Window(1).dense(4, 4), torch.eye(4, dtype=torch.bool))
    assert torch.equal(Window(9).dense(4, 4), Causal().dense(4, 4))


def test_size_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        Window(0)
