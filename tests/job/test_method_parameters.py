"""A method may have weights: they are trained, counted, saved, and folded into the network."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.errors import UserError
from suexp.job import build
from suexp.job import run as job
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.method.base import Method
from suexp.store.folder import Run
from suexp.task.base import Task
from tests.support.tiny import tiny


class Shift(Method):
    """Adds a learned vector to what the embedding gives; nothing else is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.full((16,), 0.5))

    def attach(self, task: Task) -> None:
        task.model.requires_grad_(False)
        self._hook = task.model.embedding.register_forward_hook(lambda *call: call[2] + self.vector)


class Folding(Shift):
    """Writes the vector into the table."""

    def fold(self, task: Task) -> None:
        self._hook.remove()
        task.model.embedding.weight.data += self.vector.data


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    plain = build.build

    def choose(kind: type[Method]) -> None:
        def with_method(config: Any, data: Any) -> Any:
            task = plain(config, data)
            assert isinstance(task, Task)
            if config["parent"] is None:
                task.wrap([kind()])
            return task

        for module in (build, job):
            monkeypatch.setattr(module, "build", functools.wraps(plain)(with_method))

    return choose


def weights(spec: Any) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(Run(spec).checkpoints()[0], weights_only=True)[
        "state_dict"
    ]
    return state


# An output of its own, so that a shifted table of embeddings is a shifted embedding and no more.
UNTIED = ["model.tie_embeddings=false", "model.dropout=0"]


@pytest.mark.slow
def test_they_are_trained_counted_and_folded(tmp_path: Path, use: Any) -> None:
    use(Folding)
    base = tiny(tmp_path, *UNTIED)
    spec = spec_of(base)
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    state = weights(spec)
    assert not torch.equal(state["methods.0.vector"], torch.full((16,), 0.5))
    assert summary.cost["parameters/trainable"] == 16
    assert summary.cost["parameters"] == sum(value.numel() for value in state.values())
    assert summary.metrics["optimizer/state_bytes"] == 2 * 4 * 16
    child = execute(spec_of([*base, "trainer.max_steps=0", 'parent=["trainer.max_steps=20"]']))
    # Nothing is trained: it is what the parent was.
    assert child.metrics["val/loss"] == pytest.approx(summary.metrics["val/loss"], abs=1e-5)


@pytest.mark.slow
def test_what_cannot_be_folded_is_refused(tmp_path: Path, use: Any) -> None:
    use(Shift)
    child = spec_of(tiny(tmp_path, "trainer.max_steps=0", 'parent=["trainer.max_steps=20"]'))
    with pytest.raises(UserError, match="Shift learned weights of its own"):
        execute(child)
