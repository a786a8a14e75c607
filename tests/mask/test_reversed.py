import torch

from suexp.mask import Causal, Reversed


def test_is_the_causal_mask_of_the_mirrored_text() -> None:
    dense, causal = Reversed().dense(5, 5), Causal().dense(5, 5)
    assert dense is not None
    assert causal is not None
    assert dense.int().tolist()[0] == [1, 1, 1, 1, 1]
    assert dense.int().tolist()[4] == [0, 0, 0, 0, 1]
    assert torch.equal(dense, causal.flip(0, 1))
