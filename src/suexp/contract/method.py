"""What every method keeps (see `suexp.method.base.Method`)."""

import torch
from torch import Tensor, nn

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, equal, expect, of_class, through_a_file
from suexp.method.base import Method

BASE = "suexp.method.base.Method"


@vital
def derives_from_method(subject: Subject) -> None:
    """Its class is one, and each build another object."""
    of_class(subject, Method)
    expect(isinstance(subject.kind.order, int), "order must be a whole number")


@vital
def state_dict_round_trip(subject: Subject) -> None:
    """What it keeps is in the checkpoint of a run."""
    one, other = subject.build(), subject.build()
    state = through_a_file(one.state_dict())
    other.load_state_dict(state)
    for name, value in other.state_dict().items():
        if isinstance(value, Tensor):
            equal(value, state[name], f"load_state_dict does not restore {name}")


@check
def is_built_without_drawing(subject: Subject) -> None:
    """A run with it begins from the same weights as one without."""
    generator = torch.get_rng_state()
    built = subject.build()
    kept = torch.equal(generator, torch.get_rng_state())
    learns = isinstance(built, nn.Module) and any(True for _ in built.parameters())
    expect(kept or learns, "its constructor draws random numbers, and the network's change with it")
