import torch

from suexp.mask import ExcludeSelf


def test_is_all_but_the_diagonal() -> None:
    assert torch.equal(ExcludeSelf().dense(4, 4), ~torch.eye(4, dtype=torch.bool))


def test_the_last_query_is_the_last_key() -> None:
    dense = ExcludeSelf().dense(1, 3)
    assert dense is not None
    assert dense.tolist() == [[True, True, False]]
