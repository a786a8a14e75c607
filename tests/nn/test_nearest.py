"""The nearest other vector, block by block, is that of the whole table."""

import pytest
import torch

from suexp.nn import nearest
from suexp.nn.nearest import nearest_other


@pytest.mark.parametrize("k", [2, 7, 8, 50])
@pytest.mark.parametrize("block", [1, 3, 7, 768])
def test_it_is_that_of_the_whole_table(k: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", block)
    vectors = torch.randn(k, 5, dtype=torch.float64)
    products = vectors @ vectors.T
    expected = products.fill_diagonal_(-torch.inf).argmax(1)
    assert nearest_other(vectors).tolist() == expected.tolist()


@pytest.mark.parametrize("block", [1, 2, 3, 768])
def test_of_equals_it_is_the_first(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 0, 2, 4 and 5 are one vector, 1 and 3 another."""
    monkeypatch.setattr(nearest, "BLOCK", block)
    vectors = torch.eye(2)[[0, 1, 0, 1, 0, 0]]
    assert nearest_other(vectors).tolist() == [2, 3, 0, 1, 0, 0]


def test_one_has_no_other() -> None:
    with pytest.raises(ValueError, match="1 vectors: none has another"):
        nearest_other(torch.ones(1, 3))
