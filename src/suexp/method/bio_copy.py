"""BIO-Copy: a second head says which pieces of the source the target copies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from suexp.decoding.base import Constraint
from suexp.errors import at_least
from suexp.method.base import Batch, Method, Objective
from suexp.nn.copying import Copying, common_tags
from suexp.nn.intervene import heard
from suexp.nn.linear import Linear

if TYPE_CHECKING:
    from suexp.task.base import Task

IGNORE = -100


class BIOCopy(Method):
    r"""$L = L_{task} + w\,L_{copy}$, $L_{copy} = -\frac1{|P|} \sum_{i \in P} \log p(z_i | h_i)$.

    Beside the next token a network of one row $x\,e\,y\,e$ predicts by a linear map of the same
    hidden states h, (b, n, dim), whether that token begins a piece that the target copies from the
    source (B), goes on with it (I), or is not copied (O). The tags z come from a longest common
    subsequence of the source that is read, errors in it included, and the target
    (`suexp.nn.copying`). A source token is asked for its own tag, a token of the target, and the
    one that closes the source, for that of the next; P are all of them but the last.

    What is written afterwards follows the tags: in a piece only tokens are allowed that go on with
    it in the source. So copied pieces are whole, and in a beam each hypothesis has its own.

    The map, 3 (dim + 1) weights, is the method's, and is not handed on to a run that starts from
    this one: such a run needs a method of its own.

    Post: https://kexue.fm/archives/8046.

    Args:
        weight: w, 2 in the post.
        decode: whether what is written follows the tags; false: they are trained alone.

    Raises:
        ValueError: a weight below 0.
    """

    needs: ClassVar[dict[str, str]] = {
        "prefix_length": "it needs to know which tokens are the target; use task=seq2seq",
        "model=transformer": "source and target are read in one row; use model=transformer with "
        "mask=prefix",
    }
    order: ClassVar[int] = -60  # it reads the errors that other methods put into the source

    def __init__(self, weight: float | int = 2.0, decode: bool = True) -> None:
        super().__init__()
        at_least(0, weight=weight)
        self.weight, self.decode = weight, decode

    def attach(self, task: "Task") -> None:
        """Make the map for the network's hidden states."""
        self.tags = Linear(task.model.dim, 3)

    def fold(self, task: "Task") -> None:
        """Leave the map behind: the network is whole without it."""

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss with that of the tags."""
        with heard(task.model.norm) as calls:
            loss = inner(batch)
        scores = self.tags(calls[-1].output)
        tags = self.answers(task, batch)[:, : scores.shape[1]]
        found = F.cross_entropy(scores.flatten(0, 1).float(), tags.flatten(), ignore_index=IGNORE)
        return loss + self.weight * found

    def answers(self, task: "Task", batch: Batch) -> Int[Tensor, "b n"]:
        """Return the tag that is asked at each place; `IGNORE`: none."""
        read = batch.get("inputs", batch["tokens"])
        target = batch["segments"] == 1
        source = batch["keep"] & ~target
        tags = torch.zeros_like(read)
        of_source, of_target = common_tags(
            _without(task, read, source), _without(task, batch["tokens"], target)
        )
        tags = torch.where(target, of_target, of_source)
        ahead = F.pad(tags[:, 1:], (0, 1))
        last = (
            torch.arange(read.shape[1], device=read.device) >= batch["prefix_length"][:, None] - 1
        )
        closing = F.pad(target[:, 1:], (0, 1))  # something of the target follows
        tags = torch.where(last, ahead.where(closing, IGNORE), tags)
        return tags.where(batch["keep"], IGNORE)

    def constraints(self, task: "Task", batch: Batch) -> Sequence[Constraint]:
        """Return what copies pieces of these sources."""
        if not self.decode:
            return ()
        source = _without(task, batch["tokens"], batch["keep"] & (batch["segments"] == 0))
        return (Copying(self.tags, source[:, : int(batch["prefix_length"].max())]),)


def _without(task: "Task", tokens: Tensor, part: Tensor) -> Int[Tensor, "b n"]:
    """Return the tokens of a part; what is not of it, or begins and ends texts, is -1."""
    special = torch.tensor(sorted(task.data.tokenizer_.special), device=tokens.device)  # type: ignore[attr-defined]
    return tokens.where(part & ~torch.isin(tokens, special), -1)
