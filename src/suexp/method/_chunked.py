"""Gradients of a batch that is computed in chunks: what two methods and a callback share."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from suexp.nn.passes import RandomState, as_if_nothing_happened

Batch = dict[str, Tensor]
Vectors = dict[str, Tensor]
Gradients = list[Tensor | None]


class Encoding(Protocol):
    """A task whose loss is a function of vectors alone."""

    def encode(self, batch: Batch) -> Vectors:
        """Return vectors (b, d) of the batch's rows, by name."""

    def loss_from_vectors(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the batch's loss; of the batch it reads what is no encoder's input."""


def chunks(batch: Batch, size: int) -> list[Batch]:
    """Return the batch in parts of ``size`` rows; the last may be smaller."""
    return [
        {name: value[start : start + size] for name, value in batch.items()}
        for start in range(0, rows_of(batch), size)
    ]


def rows_of(batch: Batch) -> int:
    """Return how many rows a batch has."""
    return len(next(iter(batch.values())))


def in_full(vectors: Tensor) -> Tensor:
    """Return the vectors in float32 at least."""
    return vectors.float() if vectors.dtype in (torch.float16, torch.bfloat16) else vectors


def add(total: Gradients, more: Sequence[Tensor | None]) -> None:
    """Add gradients in place; those that autograd returns may share memory with each other."""
    for i, gradient in enumerate(more):
        if gradient is None:
            continue
        known = total[i]
        if known is None:
            total[i] = gradient.clone()
        else:
            known.add_(gradient)


class _Late(torch.autograd.Function):
    """A value whose gradient to the parameters is worked out when it is asked for."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, gradients: Callable[[Tensor], Gradients], *parameters: Tensor
    ) -> Tensor:
        del parameters
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the gradient of a chunked batch can be asked for only once")
        return (None, None, *gradients(upstream))


def late(
    value: Tensor, gradients: Callable[[Tensor], Gradients], parameters: Sequence[Tensor]
) -> Tensor:
    """Return the value as a tensor whose backward pass calls ``gradients``.

    To all around it - scaling of half precision, reduction over processes, clipping, hooks - this
    is an ordinary loss, each of whose parameters gets its gradient once.

    Args:
        value: a scalar without history.
        gradients: takes the gradient to the value, a scalar too, and returns those to the
            parameters.
        parameters: what the value depends on.
    """
    return _Late.apply(value.detach(), gradients, *parameters)  # type: ignore[no-untyped-call]


def direct_gradient(
    task: Any, batch: Batch, parameters: Sequence[Tensor], state: RandomState, size: int | None
) -> tuple[Tensor, Gradients]:
    """Return loss and gradient of the whole batch by plain differentiation in one graph.

    Computed in one forward pass. A model that draws random numbers (dropout) then would draw other
    ones than in chunks; its chunks are passed one by one, but all in one graph, with the draws that
    begin at ``state``. Random generators and buffers stay as they were.

    Args:
        task: gives ``encode`` and ``loss_from_vectors``.
        batch: the whole batch.
        parameters: where the gradient is asked for.
        state: the random generators before the step's first forward pass.
        size: rows of a chunk in that step; None: it has none.
    """
    parts = [batch] if size is None else chunks(batch, size)
    with as_if_nothing_happened(task, batch), torch.enable_grad():
        state.restore()
        vectors = task.encode(batch)
        if len(parts) > 1 and RandomState(batch) != state:
            state.restore()
            found = [task.encode(part) for part in parts]
            vectors = {name: torch.cat([one[name] for one in found]) for name in vectors}
        loss: Tensor = task.loss_from_vectors(vectors, batch)
        return loss.detach(), list(torch.autograd.grad(loss, parameters, allow_unused=True))


def relative_error(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> float:
    r"""Return $|g - g^*| / |g^*|$ over all parameters; what has no gradient has a gradient of 0."""
    difference, size = 0.0, 0.0
    for a, b in zip(found, expected, strict=True):
        parts = [t.double() for t in (a, b) if t is not None]
        if parts:
            gap = parts[0] - parts[1] if len(parts) == 2 else parts[0]
            difference += float(gap.square().sum())
        if b is not None:
            size += float(b.double().square().sum())
    return (difference / size) ** 0.5 if size else float(difference > 0)
