"""What every extrapolator keeps (see `suexp.extrapolator.base.Extrapolator`)."""

import torch

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, equal, expect, finite, of_class, same, through_a_file
from suexp.extrapolator.base import Extrapolator

BASE = "suexp.extrapolator.base.Extrapolator"
CORNERS = [(0, 0), (1, 3), (3, 2)]
GRID = (5, 7)
DIM = 4


def _made(subject: Subject) -> Extrapolator:
    torch.manual_seed(0)
    found: Extrapolator = subject.build(dim=DIM)
    for parameter in found.parameters():  # not only small ones
        torch.nn.init.normal_(parameter, std=0.3)
    return found


@vital
def derives_from_extrapolator(subject: Subject) -> None:
    """Its class is one."""
    of_class(subject, Extrapolator)


@vital
def seen_cells_stay_as_they_are(subject: Subject) -> None:
    """Wherever their block lies."""
    for i, j in CORNERS:
        features = torch.randn(3, DIM, 2, 3)
        found = _made(subject)(features, (i, j), GRID)
        expect(found.shape == (3, DIM, *GRID), f"the map has the shape {tuple(found.shape)}")
        equal(found[:, :, i : i + 2, j : j + 3], features, "seen cells change")


@vital
def trains_and_keeps_its_state(subject: Subject) -> None:
    """Gradients are there and finite, and a state_dict makes another one the same."""
    one, other = _made(subject), _made(subject)
    features = torch.randn(3, DIM, 2, 3, requires_grad=True)
    one(features, (1, 1), GRID).square().sum().backward()
    finite((p.grad for p in (features, *one.parameters())), "training")
    other.load_state_dict(through_a_file(one.state_dict()))
    what = "after load_state_dict it computes something else"
    same(other(features, (0, 1), GRID), one(features, (0, 1), GRID), what)


@check
def runs_in_sixteen_bits(subject: Subject) -> None:
    """Under autocast to bfloat16."""
    features = torch.randn(3, DIM, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = _made(subject)(features.bfloat16(), (1, 1), GRID)
    expect(found.dtype == torch.bfloat16, f"under autocast to bfloat16 it gives {found.dtype}")
    wanted = _made(subject)(features, (1, 1), GRID)
    same(found.float(), wanted, "under autocast to bfloat16", atol=0.1, rtol=0.1)
