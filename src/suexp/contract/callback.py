"""What every callback keeps: it is Lightning's, and a checkpoint can hold what it remembers."""

from pytorch_lightning.callbacks import Callback

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, expect, of_class, through_a_file

BASE = "pytorch_lightning.callbacks.Callback"


@vital
def derives_from_callback(subject: Subject) -> None:
    """Its class is Lightning's."""
    of_class(subject, Callback)


@check
def its_state_goes_into_a_checkpoint(subject: Subject) -> None:
    """As plain values and tensors, from which another one has the same state."""
    one, other = subject.build(), subject.build()
    state = through_a_file(one.state_dict())
    other.load_state_dict(state)
    expect(str(other.state_dict()) == str(state), "load_state_dict does not restore state_dict")
