"""Random critics and a task around them, for tests of what constrains a critic."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from suexp.model.gan_mlp import MLPCritic


def critic(input_dim: int = 4, bias: bool = True, seed: int = 0, dim: int = 32) -> MLPCritic:
    torch.manual_seed(seed)
    return MLPCritic(input_dim, dim, 3, "leaky_relu", 0.1, bias).double()


def points(count: int = 64, input_dim: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, input_dim, dtype=torch.float64, generator=generator)


def task(network: nn.Module, kind: str = "wgan") -> Any:
    model = SimpleNamespace(critic=network)
    return SimpleNamespace(
        model=model, loss=SimpleNamespace(kind=kind), with_fake=lambda batch: batch
    )


def value_and_gradient(network: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = network(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient
