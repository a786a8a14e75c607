import pytest
import torch

from suexp.position import Learned


def test_adds_the_vector_of_each_place() -> None:
    position = Learned(max_length=5, dim=4)
    x = torch.randn(2, 3, 4)
    y = position.embed(x, torch.tensor([2, 3, 4]))
    torch.testing.assert_close(y, x + position.embedding.weight[2:5])


def test_places_may_differ_between_texts() -> None:
    position = Learned(max_length=5, dim=4)
    t = torch.tensor([[0, 1], [3, 0]])
    y = position.embed(torch.zeros(2, 2, 4), t)
    torch.testing.assert_close(y[1, 0], position.embedding.weight[3])


def test_refuses_a_longer_text_in_one_line() -> None:
    position = Learned(max_length=5, dim=4)
    with pytest.raises(ValueError, match=r"a text of 6 tokens is longer than the 5 .*rope$"):
        position.embed(torch.zeros(1, 6, 4), torch.arange(6))


def test_refuses_empty_tables() -> None:
    with pytest.raises(ValueError, match="max_length must be at least 1, not 0"):
        Learned(max_length=0, dim=4)
