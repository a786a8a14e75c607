"""Methods wrap a task's loss and step in the order that they declare, and evaluation not at all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.method.base import Method
from suexp.task.base import Task

DIGITS = ["task=classification", "data=digits", "model=mlp", "model.dim=8", "threads=1"]
calls: list[str] = []


class Doubled(Method):
    order = 1

    def objective(self, task: Task, batch: Any, inner: Any) -> Tensor:
        calls.append("doubled")
        return 2 * inner(batch)


class Squared(Method):
    order = 2

    def objective(self, task: Task, batch: Any, inner: Any) -> Tensor:
        calls.append("squared")
        loss: Tensor = inner(batch)
        return loss * loss

    def backward(self, task: Task, loss: Tensor, inner: Any) -> None:
        calls.append("backward")
        inner(-loss)


def task_and_batch(*overrides: str) -> tuple[Task, dict[str, Tensor]]:
    config = resolve([*DIGITS, *overrides]).config
    data = instantiate(config["data"])
    torch.manual_seed(0)
    task = build(config, data)
    assert isinstance(task, Task)
    rows = data.splits()["train"]
    return task, data.collate([rows[i] for i in range(8)])


def test_methods_wrap_in_their_order() -> None:
    task, batch = task_and_batch()
    plain = task.training_step(batch, 0)
    task.wrap([Squared(), Doubled()])
    calls.clear()
    wrapped = task.training_step(batch, 0)
    assert calls == ["squared", "doubled"]
    torch.testing.assert_close(wrapped, (2 * plain) ** 2)
    task.backward(wrapped)
    weight = task.model.classifier.weight
    (direct,) = torch.autograd.grad(task.objective(batch), weight)
    torch.testing.assert_close(weight.grad, -8 * plain.detach() * direct)


def test_after_step_follows_each_step_of_the_optimizer() -> None:
    class Zeroed(Method):
        def after_step(self, task: Task) -> None:
            with torch.no_grad():
                task.model.classifier.weight.zero_()

    task, batch = task_and_batch()
    task.wrap([Zeroed()])
    optimizer = task.watched(torch.optim.SGD(task.parameters(), lr=0.1))
    task.backward(task.training_step(batch, 0))
    optimizer.step()
    assert task.model.classifier.weight.count_nonzero() == 0
    assert task.model.classifier.bias.count_nonzero() > 0


def test_a_transform_without_a_parent_is_refused(tmp_path: Path) -> None:
    from suexp.transform import Copy

    with pytest.raises(ValueError, match=r"Copy starts from another run's weights.*parent="):
        Copy()(None, torch.nn.Linear(1, 1))


def test_a_parent_may_have_a_parent_and_a_method_of_its_own() -> None:
    child = resolve(
        [
            *DIGITS,
            "transform=copy",
            r'parent=["trainer.max_steps=7","parent=[\"trainer.max_steps=9\"]"]',
        ]
    ).config
    assert child["parent"]["trainer"]["max_steps"] == 7
    assert child["parent"]["parent"]["trainer"]["max_steps"] == 9
    assert child["parent"].get("transform") is None
    assert child["parent"]["parent"].get("parent") is None
    own = resolve([*DIGITS, r'parent=["transform=copy","parent=[\"seed=3\"]"]']).config
    assert own["parent"]["transform"]["_target_"] == "suexp.transform.copy.Copy"


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UserError, match="method"):
        resolve([*DIGITS, "method=nothing_such"])
