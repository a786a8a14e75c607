import pytest
import torch

from suexp.mask import Causal, Padding, Permutation, Reversed


def test_each_token_sees_those_before_it_in_the_order() -> None:
    """Read in the order 2, 0, 3, 1."""
    dense = Permutation([2, 0, 3, 1]).dense(4, 4)
    assert dense is not None
    assert dense.int().tolist() == [[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 1, 0], [1, 0, 1, 1]]


def test_identity_is_causal_and_its_mirror_reversed() -> None:
    assert torch.equal(Permutation([0, 1, 2, 3]).dense(4, 4), Causal().dense(4, 4))
    assert torch.equal(Permutation([3, 2, 1, 0]).dense(4, 4), Reversed().dense(4, 4))


def test_each_text_may_bring_its_own_order() -> None:
    order = torch.stack([torch.randperm(6) for _ in range(3)])
    mask = Permutation().bind(order=order)
    dense = mask.dense(6, 6)
    assert dense is not None
    assert dense.shape == (3, 1, 6, 6)
    for row in range(3):
        assert torch.equal(dense[row, 0], Permutation(order[row].tolist()).dense(6, 6))
    chosen = mask.select(torch.tensor([2, 2, 0])).dense(6, 6)
    assert torch.equal(chosen, dense[[2, 2, 0]])


def test_combines_with_padding() -> None:
    keep = torch.tensor([[True, True, False]])
    dense = (Permutation([1, 0, 2]) & Padding(keep)).dense(3, 3)
    assert dense is not None
    assert dense[0, 0].int().tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 0]]


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"each place from 0 to 2 once, not \[0, 2, 2\]"):
        Permutation([0, 2, 2])
    with pytest.raises(ValueError, match="mask=permutation has no order"):
        Permutation().bind(prefix_length=torch.zeros(1)).dense(3, 3)
    with pytest.raises(ValueError, match="the order has 2 places, the text 3"):
        Permutation([1, 0]).dense(3, 3)
