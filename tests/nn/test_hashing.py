import pytest
import torch

from suexp.nn.hashing import Bag, average_precision, drive, pull, top


def bags() -> tuple[Bag, torch.Tensor]:
    """Three bags of up to four of ten words, and the rows that they stand for."""
    index = torch.tensor([[1, 4, 9, 0], [2, 0, 0, 0], [0, 3, 5, 7]])
    keep = torch.tensor([[True, True, True, False], [True, False, False, False], [True] * 4])
    bag = Bag(index, keep, 2.0 * keep)
    return bag, torch.zeros(3, 10).scatter_add(1, index, keep.float())


def test_bags_are_rows_of_zeros_and_ones() -> None:
    bag, rows = bags()
    w, winner = torch.randn(5, 10), torch.tensor([4, 0, 2])
    torch.testing.assert_close(drive(bag, w), drive(rows, w))
    torch.testing.assert_close(pull(bag, w, winner), pull(2 * rows, w, winner))


def test_ties_go_to_the_first() -> None:
    scores = torch.tensor([[1.0, 3.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert top(scores, 2).int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("relevant", "at", "wanted"),
    [
        ([True, False, True, False], 4, (1 + 2 / 3) / 2),
        ([True, False, True, False], 1, 1.0),
        ([False, False, False, False], 4, 0.0),
        ([False, False, False, True], 4, 1 / 4),
    ],
)
def test_average_precision(relevant: list[bool], at: int, wanted: float) -> None:
    near = torch.tensor([[0.9, 0.5, 0.5, 0.1]])
    found = average_precision(near, torch.tensor([relevant]), at)
    assert found.tolist() == [pytest.approx(wanted)]
