"""Exact gradients of a contrastive loss from chunks of its batch."""

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from suexp.errors import at_least
from suexp.method._chunked import (
    Batch,
    Gradients,
    Vectors,
    add,
    chunks,
    direct_gradient,
    in_full,
    late,
    relative_error,
)
from suexp.method.base import Method, Objective
from suexp.nn.passes import RandomState, same_autocast

if TYPE_CHECKING:
    from suexp.task.base import Task

CHECKED = "grad_cache/rel_error"


class GradCache(Method):
    r"""$\nabla_\theta L = \sum_i \langle \nabla_\theta h_i, \partial L/\partial h_i \rangle$.

    A contrastive loss couples all vectors $h_i = f_\theta(x_i)$ of a batch, so the gradients of
    small batches do not add up to that of a large one. But it depends on the parameters only
    through the vectors:

    1. the vectors H (b, d) are computed chunk by chunk, keeping nothing else;
    2. $C = \partial L/\partial H$ is computed from H alone, together with the gradient to what the
       loss itself may train, a temperature say;
    3. in the backward pass each chunk goes through the encoder once more, and the rows of C go back
       through it.

    The result is the gradient of the whole batch to rounding, for one more forward pass and with
    the memory of one chunk, H, C and the loss. Steps 1 and 2 happen when the loss is computed, step
    3 when it is differentiated, so mixed precision, several processes (trainer=ddp, which contrasts
    the batch of all of them), clipping, schedules and resuming need nothing special.

    What the chunks draw at random (dropout) is the same in both passes, as the generators' states
    are kept and set again; the post, which does not do so, excludes dropout and hence SimCSE. The
    sum $\sum_i \langle h_i, C_i \rangle$, whose gradient step 3 takes, is not the loss; with cosine
    similarity it is always 0. It is kept as ``surrogate`` and never shown as a loss.

    Relative to the post, which gives C in closed form for symmetric inner products, C comes from
    automatic differentiation and the loss may be any function of the vectors.

    Reference: https://kexue.fm/archives/8471; Gao et al., GradCache, arXiv:2101.06983.

    Args:
        chunk_size: rows that pass through the encoder with a graph at a time.
        forward_chunk_size: rows in the pass without a graph; null: as chunk_size. With dropout it
            must be that.
        replay_rng: let both passes of a chunk draw the same random numbers.
        allow_batch_norm: go on although batch norm sees the statistics of chunks, which makes the
            gradient wrong and moves the running averages twice.
        check: in the first step compare with the gradient of the whole batch in one graph, which
            needs its memory, and record ``grad_cache/rel_error``.

    Raises:
        ValueError: a size below 1; a task without vectors, or a network with batch norm; when a
            step is computed, draws that cannot be replayed.
    """

    provides: ClassVar[set[str]] = {"gradient_accumulation"}
    needs: ClassVar[dict[str, str]] = {
        "loss_on_vectors": "the loss of other tasks is a mean over samples, which "
        "trainer.accumulate_grad_batches accumulates exactly; use that, or task=matching"
    }
    refuses: ClassVar[dict[str, str]] = {
        "trainer=fsdp": "a sharded encoder cannot be differentiated in parts; use trainer=ddp",
        "method=naive_accumulation": "one of them decides what the gradient is; leave one out",
        "moved_input": "its second pass over the chunks comes later, when nothing moves any more; "
        "leave one of them out",
        "changed_weights": "it passes the batch through other weights, whose vectors are not "
        "those in the cache; leave one of them out",
    }
    # Next to the task: what others add to the loss is none of the cache's business.
    order: ClassVar[int] = -100

    def __init__(
        self,
        chunk_size: int = 16,
        forward_chunk_size: int | None = None,
        replay_rng: bool = True,
        allow_batch_norm: bool = False,
        check: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, chunk_size=chunk_size, forward_chunk_size=forward_chunk_size)
        self.chunk_size = chunk_size
        self.forward_chunk_size = forward_chunk_size or chunk_size
        self.replay_rng, self.allow_batch_norm, self.check = replay_rng, allow_batch_norm, check
        self.surrogate: Tensor | None = None

    def attach(self, task: "Task") -> None:
        """Look at task and networks; change nothing."""
        if not hasattr(task, "encode") or not hasattr(task, "loss_from_vectors"):
            raise ValueError(
                "method=grad_cache needs a loss on vectors; "
                f"{type(task).__name__} has a per-sample loss, use trainer.accumulate_grad_batches"
            )
        names = [name for name, part in task.model.named_modules() if isinstance(part, _BatchNorm)]
        if names and not self.allow_batch_norm:
            raise ValueError(
                f"method=grad_cache: the statistics of batch norm (model.{names[0]}) would be per "
                "chunk; use norm=layer, or allow_batch_norm=true to see what happens"
            )
        if not self.replay_rng and _drops(task.model):
            warnings.warn(
                "method=grad_cache with replay_rng=false and dropout: the two forward passes draw "
                "different masks, so the gradient is wrong",
                stacklevel=2,
            )

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss of the whole batch, whose backward pass goes chunk by chunk.

        Raises:
            ValueError: draws that cannot be replayed, as the chunks of the two passes differ.
        """
        if not torch.is_grad_enabled():
            return inner(batch)
        encoding: Any = task
        begin, autocast = RandomState(batch), same_autocast(batch)
        states, vectors = self._vectors(encoding, batch)
        parameters = [p for p in task.parameters() if p.requires_grad]
        loss: Tensor = encoding.loss_from_vectors(vectors, batch)
        slopes = torch.autograd.grad(loss, [*vectors.values(), *parameters], allow_unused=True)
        cache = {
            name: torch.zeros_like(vectors[name]) if slope is None else slope
            for name, slope in zip(vectors, slopes, strict=False)
        }
        self.surrogate = sum(
            ((vectors[name].detach() * cache[name]).sum() for name in cache), loss.new_zeros(())
        )

        def gradients(upstream: Tensor) -> Gradients:
            total: Gradients = [None] * len(parameters)
            add(total, [g if g is None else g * upstream for g in slopes[len(vectors) :]])
            end = RandomState(batch)
            for i, part in enumerate(chunks(batch, self.chunk_size)):
                if states is not None:
                    states[i].restore()
                with torch.enable_grad(), autocast():
                    again = encoding.encode(part)
                rows = slice(i * self.chunk_size, (i + 1) * self.chunk_size)
                used = [name for name, value in again.items() if value.requires_grad]
                back = torch.autograd.grad(
                    [again[name] for name in used],
                    parameters,
                    [(cache[name][rows] * upstream).to(again[name].dtype) for name in used],
                    allow_unused=True,
                )
                add(total, back)
            if states is not None:
                end.restore()
            if self.check and CHECKED not in task.final:
                self._compare(task, batch, begin, parameters, total, upstream, autocast)
            return total

        return late(loss, gradients, parameters)

    def _vectors(self, task: Any, batch: Batch) -> tuple[list[RandomState] | None, Vectors]:
        """Return the random states before each chunk, and the vectors of all rows, as leaves."""
        states: list[RandomState] = []
        found: list[Vectors] = []
        for part in chunks(batch, self.forward_chunk_size):
            states.append(RandomState(batch))
            with torch.no_grad(), same_autocast(batch)():
                found.append(task.encode(part))
        vectors = {
            name: in_full(torch.cat([one[name] for one in found])).requires_grad_()
            for name in found[0]
        }
        if not self.replay_rng:
            return None, vectors
        if self.forward_chunk_size != self.chunk_size:
            if RandomState(batch) != states[0]:
                raise ValueError(
                    "method=grad_cache: the model draws random numbers (dropout), so both passes "
                    f"need the same chunks; leave forward_chunk_size={self.forward_chunk_size} out"
                )
            return None, vectors
        return states, vectors

    def _compare(
        self,
        task: "Task",
        batch: Batch,
        begin: RandomState,
        parameters: list[nn.Parameter],
        total: Gradients,
        upstream: Tensor,
        autocast: Any,
    ) -> None:
        with autocast():
            _, direct = direct_gradient(task, batch, parameters, begin, self.chunk_size)
        ours = [g if g is None else g / upstream for g in total]
        error = relative_error(ours, direct)
        task.final[CHECKED] = error
        task.log_step({CHECKED: error}, task.global_step + 1)


def _drops(model: nn.Module) -> bool:
    """Tell whether some part of a network drops anything: a layer, or a rate of its own."""
    for part in model.modules():
        rate = part.p if isinstance(part, nn.modules.dropout._DropoutNd) else None
        rate = getattr(part, "dropout", None) if rate is None else rate
        if isinstance(rate, int | float) and rate > 0:
            return True
    return False
