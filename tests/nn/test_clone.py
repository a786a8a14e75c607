import torch
from torch import nn

from suexp.nn.clone import clone


def test_shares_nothing_and_draws_anew() -> None:
    prototype = nn.Linear(3, 4)
    copy = clone(prototype)
    assert copy.weight.shape == prototype.weight.shape
    assert not torch.equal(copy.weight, prototype.weight)


def test_modules_without_random_state_are_just_copied() -> None:
    prototype = nn.ReLU(inplace=True)
    copy = clone(prototype)
    assert copy is not prototype
    assert copy.inplace
