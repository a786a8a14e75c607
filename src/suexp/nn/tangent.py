"""The tangent kernel of a network: gradients of each row's output, and their products."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Parameter -> (b, size).
Gradients = dict[str, Tensor]


def row_gradients(
    model: nn.Module, f: Callable[[Tensor], Tensor], x: Float[Tensor, "b i"], chunk_size: int
) -> Gradients:
    r"""Return $\nabla_\theta f(\text{model}(x_i))$ of each row, by parameter that learns.

    Args:
        model: takes rows, each by itself.
        f: takes the model's output of rows, and returns a number of each.
        x: the rows.
        chunk_size: how many rows' gradients are computed at once.
    """
    learned = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    fixed = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
    fixed |= dict(model.named_buffers())

    def of_row(weights: dict[str, Tensor], row: Tensor) -> Tensor:
        return f(torch.func.functional_call(model, {**weights, **fixed}, (row[None],)))[0]

    with torch.enable_grad():
        per_row: Callable[..., Any] = torch.func.vmap(
            torch.func.grad(of_row), in_dims=(None, 0), chunk_size=chunk_size
        )
        found = per_row(learned, x)
    return {name: value.detach().flatten(1) for name, value in found.items()}


def kernel(a: Gradients, b: Gradients) -> Float[Tensor, "m b"]:
    r"""Return $K_{ij} = \langle \nabla f(x_i), \nabla f(x'_j) \rangle$, summed in float64."""
    return torch.stack([a[name] @ value.T for name, value in b.items()]).double().sum(0)
