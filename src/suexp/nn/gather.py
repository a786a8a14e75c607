"""Rows of all processes, through which gradients flow."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor


class _Gather(torch.autograd.Function):
    """All-gather of equally many rows; each process gets the sum of all gradients to its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather_rows(x: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "m ..."]:
    r"""Return the rows of all processes, one process after the other; alone, the rows themselves.

    The processes may have different numbers of rows. Where each of W processes computes the same
    scalar L from the gathered rows, the gradient to its own rows is $W\,\partial L/\partial x$:
    the mean over the processes that data parallelism takes then is that of one process with all
    the rows.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    count = torch.tensor([len(x)], device=x.device)
    counts = [torch.empty_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    sizes = [int(item) for item in counts]
    longest = max(sizes)
    rows = x.byte() if x.dtype == torch.bool else x
    if longest > len(x):
        rows = torch.cat((rows, rows.new_zeros(longest - len(x), *x.shape[1:])))
    parts = _Gather.apply(rows).split(longest)  # type: ignore[no-untyped-call]
    together = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
    return together.bool() if x.dtype == torch.bool else together
