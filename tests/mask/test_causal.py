import torch

from suexp.mask import Causal


def test_is_the_lower_triangle() -> None:
    dense = Causal().dense(4, 4)
    assert dense is not None
    assert torch.equal(dense, torch.ones(4, 4).tril().bool())


def test_one_new_token_sees_all() -> None:
    assert torch.equal(Causal().dense(1, 5), torch.ones(1, 5, dtype=torch.bool))
