"""A contrastive task on vectors, small enough for float64 and every kind of network."""

from typing import Any

import torch
from torch import Tensor, nn

from suexp.data.digits import Digits
from suexp.loss import InfoNCE
from suexp.method._chunked import relative_error
from suexp.method.base import Method
from suexp.task.base import Task

COSINE = {"temperature": 0.05, "similarity": "cosine"}


class Toy(Task):
    """64 vectors, rows 2i and 2i + 1 partners; two towers: b is what a second network makes."""

    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        vectors = {"a": self.model[0](batch["x"])}
        if len(self.model) > 1:
            vectors["b"] = self.model[1](batch["x"])
        return vectors

    def loss_from_vectors(self, vectors: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        return self.loss(vectors["a"], vectors.get("b"))

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        return self.loss_from_vectors(self.encode(batch), batch)


def mlp(*extra: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), *extra, nn.Tanh(), nn.Linear(32, 8))


def toy(
    *methods: Method, extra: Any = (), towers: int = 1, seed: int = 0, **loss: Any
) -> tuple[Toy, dict[str, Tensor]]:
    """Return task and batch in float64."""
    torch.manual_seed(seed)
    settings = {"temperature": 1.0, "similarity": "dot", "layout": "interleaved"} | loss
    task = Toy(
        model=nn.ModuleList(mlp(*extra) for _ in range(towers)),
        loss=InfoNCE(**settings),
        optimizer=None,
        scheduler=None,
        data=Digits(),
    ).double()
    task.wrap(list(methods))
    return task, {"x": torch.randn(64, 10, dtype=torch.float64)}


def gradient(task: Task, batch: dict[str, Tensor], seed: int = 1) -> tuple[Tensor, list[Any]]:
    """Return loss and gradients as a training step leaves them behind."""
    torch.manual_seed(seed)
    task.zero_grad()
    loss = task.training_step(batch, 0)
    assert loss is not None
    task.backward(loss)
    return loss.detach(), [p.grad for p in task.parameters()]


def error(found: list[Any], expected: list[Any]) -> float:
    return relative_error(found, expected)


def cosine(found: list[Any], expected: list[Any]) -> float:
    a, b = (torch.cat([g.flatten() for g in grads]) for grads in (found, expected))
    return float(a @ b / a.norm() / b.norm())
