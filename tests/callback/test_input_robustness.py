"""Robustness around inputs: a linear model by hand, and a run's figures."""

from pathlib import Path

import pytest
import torch
from torch import nn

from suexp.callback.input_robustness import InputRobustness
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.method.texts import batch, model, task_of

TEXTS = ["task=classification", "data=docstring_topic"]
TEXTS += ["data.block_size=16", "data.tokenizer=bytes", "model.dim=8", "model.num_heads=2"]
TEXTS += ["trainer=cpu", "trainer.max_steps=4", "trainer.val_check_interval=2", "threads=1"]
TEXTS += ["trainer.enable_progress_bar=false", "callback=input_robustness"]


def test_a_linear_model_by_hand() -> None:
    """A step of epsilon along -y w moves the margin by epsilon |w|: those within it fall."""
    torch.manual_seed(4)
    network = nn.Linear(6, 2).double()
    rows = {"x": torch.randn(200, 6, dtype=torch.float64), "label": torch.arange(200) % 2}
    w = (network.weight[1] - network.weight[0]).detach()
    sign = 2.0 * rows["label"] - 1
    margin = sign * (rows["x"] @ w + (network.bias[1] - network.bias[0]).detach())
    sizes = [0.0, 0.3, 1.0]
    callback = InputRobustness(0.1, sizes)
    found = callback.measured(task_of(network, padded=False), rows)
    expected = [(margin > size * w.norm()).sum() for size in (0.1, *sizes)]
    norms = (torch.sigmoid(-margin) * w.norm()).sum()
    wanted = torch.stack([torch.tensor(200.0), norms, *expected])
    torch.testing.assert_close(found.double(), wanted.double(), rtol=1e-5, atol=0)


def test_rows_do_not_mix_and_nothing_stays() -> None:
    network, rows = model(), batch()
    task, callback = task_of(network), InputRobustness(0.5)
    whole = callback.measured(task, rows)
    parts = [callback.measured(task, {k: v[i : i + 1] for k, v in rows.items()}) for i in range(5)]
    torch.testing.assert_close(torch.stack(parts).sum(0), whole)
    assert all(p.grad is None for p in network.parameters())
    assert not network.embedding._forward_hooks


@pytest.mark.parametrize("more", [[], ["trainer.precision=bf16-mixed", "method=fgm"]])
def test_a_run_reports_it(more: list[str], tmp_path: Path) -> None:
    config = spec_of([*TEXTS, *more, f"out={tmp_path}"])
    summary = execute(config)
    assert summary.status == "finished", summary.error
    metrics = summary.metrics
    assert metrics["val/input_grad_norm"] > 0
    assert metrics["val/embedding_norm"] > 0
    rows = Run(config).tables()["attack"]
    assert [row["size"] for row in rows] == [0, 0.25, 0.5, 1, 2]
    accuracy = [row["accuracy"] for row in rows]
    if not more:  # in half precision, the validation itself rounds otherwise
        assert accuracy[0] == pytest.approx(metrics["val/accuracy"])
    assert accuracy[2] == metrics["val/robust_accuracy"]
    assert accuracy[0] > accuracy[-1]


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="at least 0, not -1"):
        InputRobustness(-1)
    with pytest.raises(UserError, match="needs classes"):
        resolve(["callback=input_robustness"])
    with pytest.raises(UserError, match="trainer=ddp"):
        resolve([*TEXTS, "trainer=fsdp"])
