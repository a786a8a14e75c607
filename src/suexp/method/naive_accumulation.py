"""What does not work for contrastive losses: the mean of the chunks' own losses."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from suexp.errors import at_least
from suexp.method._chunked import Batch, Gradients, add, chunks, late
from suexp.method.base import Method, Objective
from suexp.nn.passes import loss_scale, same_autocast

if TYPE_CHECKING:
    from suexp.task.base import Task


class NaiveAccumulation(Method):
    r"""$L = \sum_k \frac{b_k}{b} L(\text{chunk}_k)$ with chunks of $b_k$ of the b rows.

    Each chunk is differentiated before the next one is computed, so memory is that of one chunk.
    For a loss that is a mean over samples this is the gradient of the whole batch. A contrastive
    loss contrasts only within each chunk then: it is another loss, the one of small batches. It is
    what trainer.accumulate_grad_batches does, as a baseline for method=grad_cache.

    Reference: https://kexue.fm/archives/8471.

    Args:
        chunk_size: rows of a chunk.

    Raises:
        ValueError: a size below 1.
    """

    provides: ClassVar[set[str]] = {"gradient_accumulation"}
    refuses: ClassVar[dict[str, str]] = {
        "trainer=fsdp": "a sharded model cannot be differentiated in parts; use trainer=ddp",
        "changed_weights": "it passes the whole batch through other weights, not the chunks; "
        "use trainer.accumulate_grad_batches",
    }
    # Outermost: each chunk is a batch to all other methods.
    order: ClassVar[int] = 100

    def __init__(self, chunk_size: int = 16) -> None:
        super().__init__()
        at_least(1, chunk_size=chunk_size)
        self.chunk_size = chunk_size

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the weighted mean of the chunks' losses."""
        if not torch.is_grad_enabled():
            return inner(batch)
        parameters = [p for p in task.parameters() if p.requires_grad]
        total: Gradients = [None] * len(parameters)
        value, scale = torch.zeros((), device=task.device), loss_scale(task)
        parts = chunks(batch, self.chunk_size)
        rows = [len(next(iter(part.values()))) for part in parts]
        for part, number in zip(parts, rows, strict=True):
            with same_autocast(batch)():
                loss = inner(part) * (number / sum(rows))
            back = torch.autograd.grad(loss * scale, parameters, allow_unused=True)
            add(total, back)
            value = value + loss.detach()

        def gradients(upstream: Tensor) -> Gradients:
            return [g if g is None else g.mul_(upstream / scale) for g in total]

        return late(value, gradients, parameters)
