"""The norms are those of the gradients of the first step's loss, layer by layer."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from suexp.callback.gradient_norm import GradientNorm, layers_of, norm
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny, unchecked

ON = "callback=gradient_norm"


def test_layers_are_the_entries_of_the_outermost_lists() -> None:
    inner = nn.ModuleList([nn.Linear(1, 1)])
    first, second = nn.Linear(2, 2), nn.Sequential(inner)
    model = nn.Module()
    model.encoder, model.head = nn.ModuleList([first, nn.ReLU(), second]), nn.Linear(1, 1)
    assert layers_of(model) == [first, second]


def test_norm_is_that_of_all_parameters_together() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad, layer.bias.grad = torch.tensor([[1.0, 2.0]]), torch.tensor([2.0])
    assert float(norm(layer)) == pytest.approx(3.0)


def test_a_run_records_the_first_gradients_unclipped_and_resumes_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares: list[dict[str, float]] = []
    own = GradientNorm.on_before_optimizer_step

    def spy(self: GradientNorm, trainer: Any, task: Any, optimizer: Any) -> None:
        blocks = task.model.blocks.named_parameters()
        squares.append({name: float(p.grad.square().sum()) for name, p in blocks})
        own(self, trainer, task, optimizer)

    monkeypatch.setattr(GradientNorm, "on_before_optimizer_step", spy)
    arguments = tiny(tmp_path, ON, "trainer.gradient_clip_val=1e-3", "trainer.max_steps=4")
    config = spec_of(arguments)
    metrics = execute(config).metrics
    wanted = [
        math.sqrt(sum(v for name, v in squares[0].items() if name.startswith(f"{layer}.")))
        for layer in range(config.config["model"]["num_layers"])
    ]
    rows = Run(config).tables()["gradients"]
    assert [row["layer"] for row in rows] == list(range(len(wanted)))
    assert [row["norm"] for row in rows] == pytest.approx(wanted, rel=1e-5)
    assert metrics["start/gradient_first"] == pytest.approx(wanted[0], rel=1e-5)
    assert metrics["start/gradient_last"] == pytest.approx(wanted[-1], rel=1e-5)
    assert min(wanted) > 1e-3
    resumed = GradientNorm()
    resumed.load_state_dict({"norms": wanted})
    assert resumed.state_dict() == {"norms": wanted}


def test_a_model_without_layers_is_refused(tmp_path: Path) -> None:
    arguments = ["task=classification", "model=linear", "data=digits", f"out={tmp_path}"]
    summary = execute(unchecked([*arguments, "trainer.max_steps=1"], "gradient_norm"))
    assert summary.mistake
    assert "no layers" in summary.error
