import pytest
import torch

from suexp.nn.hashing import Bag, average_precision, dense, drive, nearest_agree, pull, top


def bags() -> tuple[Bag, torch.Tensor]:
    """Three bags of up to four of ten words, and the rows that they stand for."""
    index = torch.tensor([[1, 4, 9, 0], [2, 0, 0, 0], [0, 3, 5, 7]])
    keep = torch.tensor([[True, True, True, False], [True, False, False, False], [True] * 4])
    bag = Bag(index, keep, 2.0 * keep)
    return bag, torch.zeros(3, 10).scatter_add(1, index, keep.float())


def test_bags_are_rows_of_zeros_and_ones() -> None:
    bag, rows = bags()
    w, winner = torch.randn(5, 10), torch.tensor([4, 0, 2])
    torch.testing.assert_close(dense(bag, 10), rows)
    torch.testing.assert_close(drive(bag, w), drive(rows, w))
    torch.testing.assert_close(drive(bag, w, scaled=True), drive(2 * rows, w))
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


def test_near_by_both_similarities() -> None:
    """Two nearest of each of four: 0 has {1, 2} and {1, 3}; 1 has {0, 3} and {0, 3}; and so on."""
    one = torch.tensor([[9, 3, 2, 1], [3, 9, 1, 2], [1, 2, 9, 3], [1, 2, 3, 9.0]])
    two = torch.tensor([[9, 3, 1, 2], [3, 9, 1, 2], [1, 2, 9, 3], [3, 2, 1, 9.0]])
    assert nearest_agree(one, two, at=2).tolist() == [0.5, 1.0, 1.0, 0.5]


def test_ties_share_the_last_places() -> None:
    tied, clear = torch.zeros(5, 5), torch.randn(5, 5)
    chance = torch.full((5,), 2 / 4)
    torch.testing.assert_close(nearest_agree(tied, clear, at=2), chance)
    half = torch.tensor([[9, 5, 1, 1], [5, 9, 1, 1], [1, 1, 9, 5], [1, 1, 5, 9.0]])
    # Of the two places one is sure, the other one of two: agreement with itself 1 + 2 / 4, of 2.
    torch.testing.assert_close(nearest_agree(half, half, at=2), torch.full((4,), 0.75))
