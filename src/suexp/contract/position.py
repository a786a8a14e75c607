"""What every position code keeps (see `suexp.position.base.Position`)."""

from typing import Any

import torch
from torch import Tensor

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, equal, expect, finite, of_class, same, through_a_file
from suexp.position.base import Position

BASE = "suexp.position.base.Position"
MOST = 12  # tokens


class Drawn:
    """Embeddings and heads in the sizes of the subject's run; without one, 3 heads of 8."""

    def __init__(self, subject: Subject, dtype: torch.dtype = torch.float32) -> None:
        heads, dim = subject.size("model.num_heads", 3), subject.size("model.key_dim", 8)
        self.length = n = min(MOST, subject.size("data.block_size", MOST))
        self.x = torch.randn(2, n, subject.size("model.dim", heads * dim), dtype=dtype)
        self.q = torch.randn(2, heads, n, dim, dtype=dtype)
        self.places = torch.arange(n)

    def acts(self, position: Any, part: slice = slice(None)) -> dict[str, Tensor]:
        """Return what it does to some of the tokens, which know where they stand."""
        at = self.places[part]
        found = {
            "embed": position.embed(self.x[:, part], at),
            "rotate, of queries": position.rotate(self.q[:, :, part], at),
            "rotate, of keys": position.rotate(self.q[:, :, part], at, is_key=True),
        }
        bias = position.bias(at, self.places)
        return found if bias is None else {**found, "bias": bias}


@vital
def derives_from_position(subject: Subject) -> None:
    """Its class is one."""
    of_class(subject, Position)


@vital
def keeps_shapes_and_types(subject: Subject) -> None:
    """Of embeddings, queries and keys; a bias is one of n queries by m keys."""
    drawn = Drawn(subject)
    for name, out in drawn.acts(subject.build().eval()).items():
        if name == "bias":
            square = (drawn.length, drawn.length)
            expect(out.shape[-2:] == square, f"bias has the shape {tuple(out.shape)}")
            continue
        x = drawn.x if name == "embed" else drawn.q
        expect(out.shape == x.shape, f"{name}: {tuple(x.shape)} becomes {tuple(out.shape)}")
        expect(out.dtype == x.dtype, f"{name}: {x.dtype} becomes {out.dtype}")


@vital
def a_bias_is_given_if_it_is_declared(subject: Subject) -> None:
    """By the feature score_bias, which attentions without scores refuse."""
    gives = subject.build().bias(torch.arange(3), torch.arange(3)) is not None
    declares = "score_bias" in subject.kind.provides
    expect(
        gives <= declares,
        'it adds to the scores; declare provides = {"score_bias"}, which attentions may refuse',
    )
    expect(gives >= declares, "it declares score_bias in provides, but bias returns None")


@vital
def reading_in_pieces_equals_reading_whole(subject: Subject) -> None:
    """As decoding reads; a token's place is told, not counted."""
    drawn, position = Drawn(subject), subject.build().eval()
    whole = drawn.acts(position)
    half = drawn.length // 2
    parts = (slice(0, half), slice(half, half + 1), slice(half + 1, None))
    pieces = [drawn.acts(position, part) for part in parts]
    for name, wanted in whole.items():
        axis = 1 if name == "embed" else -2
        found = torch.cat([piece[name] for piece in pieces], axis)
        same(found, wanted, f"{name}: a text read in pieces differs from one read whole")


@vital
def rows_may_have_places_of_their_own(subject: Subject) -> None:
    """As texts do that are padded on the left."""
    drawn, position = Drawn(subject), subject.build().eval()
    at = torch.stack([drawn.places, drawn.places.flip(0)])
    for row in range(2):
        one = slice(row, row + 1)
        found = position.embed(drawn.x, at)[one]
        same(found, position.embed(drawn.x[one], at[row]), "embed: a row beside another differs")
        found = position.rotate(drawn.q, at)[one]
        same(found, position.rotate(drawn.q[one], at[row]), "rotate: a row beside another differs")


@vital
def gradients_are_finite(subject: Subject) -> None:
    """Of what it acts on."""
    drawn, position = Drawn(subject), subject.build().train()
    drawn.x.requires_grad_(), drawn.q.requires_grad_()
    acts = drawn.acts(position)
    finite(acts.values(), "the output")
    learned = [out for out in acts.values() if out.requires_grad]  # a bias may have no weights
    torch.autograd.backward([out.float().square().sum() for out in learned])
    finite((drawn.x.grad, drawn.q.grad), "the input's gradient")


@check
def keeps_bfloat16(subject: Subject) -> None:
    """As trainer.precision=bf16-true has everything."""
    drawn, position = Drawn(subject, torch.bfloat16), subject.build().bfloat16()
    for name, out in drawn.acts(position).items():
        if name != "bias":
            expect(out.dtype == torch.bfloat16, f"{name}: bfloat16 becomes {out.dtype}")
        finite([out], f"{name} in bfloat16")


@vital
def state_dict_round_trip(subject: Subject) -> None:
    """What is saved makes another one act the same."""
    drawn, one, other = Drawn(subject), subject.build().eval(), subject.build().eval()
    other.load_state_dict(through_a_file(one.state_dict()))
    found = drawn.acts(other)
    for name, wanted in drawn.acts(one).items():
        equal(found[name], wanted, f"{name}: after load_state_dict it acts otherwise")
