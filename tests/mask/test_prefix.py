import pytest
import torch

from suexp.mask import Causal, Prefix


def test_prefix_is_seen_whole_and_the_rest_from_left_to_right() -> None:
    dense = Prefix(2).dense(4, 4)
    assert dense is not None
    assert dense.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_no_prefix_is_causal_and_all_prefix_is_bidirectional() -> None:
    assert torch.equal(Prefix(0).dense(5, 5), Causal().dense(5, 5))
    assert torch.equal(Prefix(5).dense(5, 5), torch.ones(5, 5, dtype=torch.bool))


def test_each_text_may_bring_its_own_length() -> None:
    mask = Prefix(None).bind(prefix_length=torch.tensor([0, 3]), other=torch.zeros(1))
    dense = mask.dense(4, 4)
    assert dense is not None
    assert dense.shape == (2, 1, 4, 4)
    assert torch.equal(dense[0, 0], Prefix(0).dense(4, 4))
    assert torch.equal(dense[1, 0], Prefix(3).dense(4, 4))
    assert mask.length.tolist() == [0, 3]


def test_binding_reaches_the_parts_of_a_combination() -> None:
    mask = (Causal() & Prefix(None)).bind(prefix_length=torch.tensor([2]))
    dense = mask.dense(3, 3)
    assert dense is not None
    assert torch.equal(dense[0, 0], Causal().dense(3, 3))


def test_a_set_length_is_not_rebound() -> None:
    mask = Prefix(3)
    assert mask.bind(prefix_length=torch.tensor([1])) is mask
    assert mask.length == 3


def test_without_a_length_it_says_so() -> None:
    with pytest.raises(ValueError, match="mask=prefix has no length"):
        Prefix(None).bind().dense(3, 3)


def test_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, not -1"):
        Prefix(-1)


def test_texts_of_a_bound_mask_are_selected() -> None:
    mask = Prefix(None).bind(prefix_length=torch.tensor([0, 3]))
    rows = torch.tensor([1, 1, 0])
    assert mask.select(rows).length.tolist() == [3, 3, 0]
    dense = (mask & Causal()).select(rows).dense(4, 4)
    assert torch.equal(dense, (mask & Causal()).dense(4, 4)[rows])
    assert Prefix(2).select(rows).length == 2
