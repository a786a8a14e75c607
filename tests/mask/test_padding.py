import pytest
import torch

from suexp.mask import Causal, Padding

KEEP = torch.tensor([[True, True, False], [False, True, True]])


def test_padded_keys_are_hidden_from_every_query() -> None:
    dense = Padding(KEEP).dense(2, 3)
    assert dense is not None
    assert dense.shape == (2, 1, 2, 3)
    assert torch.equal(dense[:, 0, 0], KEEP)
    assert torch.equal(dense[:, 0, 1], KEEP)


def test_combines_with_a_mask_of_positions() -> None:
    dense = (Causal() & Padding(KEEP)).dense(3, 3)
    assert dense is not None
    assert dense[1, 0].int().tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_another_number_of_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="padding mask has 3 keys, the attention 4"):
        Padding(KEEP).dense(4, 4)
