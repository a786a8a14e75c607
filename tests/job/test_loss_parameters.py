"""A loss may have weights: they are trained, counted, saved, and taken over from a parent."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.job import build
from suexp.job import run as job
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.loss.cross_entropy import CrossEntropy
from suexp.store.folder import Run
from suexp.task.base import Task
from tests.support.tiny import tiny


class Tempered(CrossEntropy):
    """Cross-entropy at a learnable temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().forward(logits / self.temperature, target)


@pytest.fixture
def _tempered(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build.build

    def with_tempered(config: Any, data: Any) -> Any:
        task = plain(config, data)
        assert isinstance(task, Task)
        task.loss = Tempered()
        return task

    for module in (build, job):
        monkeypatch.setattr(module, "build", functools.wraps(plain)(with_tempered))


def weights(config: dict[str, Any]) -> dict[str, Tensor]:
    last = Run(config).checkpoints()[0]
    state: dict[str, Tensor] = torch.load(last, weights_only=True)["state_dict"]
    return state


@pytest.mark.slow
@pytest.mark.usefixtures("_tempered")
def test_it_is_trained_counted_and_taken_over(tmp_path: Path) -> None:
    base = tiny(tmp_path)
    config = spec_of(base)
    summary = execute(config)
    assert summary.status == "finished", summary.error
    state = weights(config)
    learned = float(state["loss.temperature"])
    assert learned != 2.0
    assert summary.cost["parameters"] == 1 + sum(
        value.numel() for name, value in state.items() if name.startswith("model.")
    )
    child = spec_of([*base, "trainer.max_steps=0", 'parent=["trainer.max_steps=20"]'])
    execute(child)
    assert float(weights(child)["loss.temperature"]) == learned
