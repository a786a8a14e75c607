from pathlib import Path

import pytest
import torch
from torch import nn

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run

DIGITS = (
    "task=classification", "data=digits", "model=mlp", "model.dim=16", "optimizer=sgd",
    "scheduler=constant", "trainer.max_steps=8", "trainer.val_check_interval=8", "threads=1",
    "trainer.enable_progress_bar=false", "trainer=cpu",
)  # fmt: skip
ON = ("callback=smoothness", "callbacks.smoothness.every=4")


def run(out: Path, *overrides: str) -> tuple[dict[str, float], Run]:
    stored = Run(spec_of([*DIGITS, f"out={out}", *overrides]))
    summary = execute(stored.spec)
    assert summary.status == "finished", summary.error
    return summary.metrics, stored


def test_the_run_does_not_notice(tmp_path: Path) -> None:
    """With dropout, and with running averages."""
    states = []
    for extra in ((), ON):
        _, stored = run(tmp_path, "norm=batch", "model.dropout=0.3", *extra)
        states.append(torch.load(stored.checkpoints()[0], weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_of_a_step_computed_anew(tmp_path: Path) -> None:
    """The first step of a linear model on all rows, whose draws are none."""
    whole = ("model.num_layers=0", "data.batch_size=1400", "model.norm=null", "trainer.max_steps=1")
    metrics, stored = run(
        tmp_path, *whole, "callback=smoothness", "callbacks.smoothness.every=1",
        "callbacks.smoothness.distances=[0.5,2]", "trainer.precision=64-true", "optimizer.lr=1e-12",
    )  # fmt: skip
    (row,) = stored.tables()["smoothness"]
    from suexp.code.instantiate import instantiate

    data = instantiate(stored.config["data"])
    rows = data.splits()["train"]
    batch = data.collate([rows[i] for i in range(len(rows))])
    state = torch.load(stored.checkpoints()[0], weights_only=True)["state_dict"]
    w, b = (state[f"model.classifier.{name}"].double() for name in ("weight", "bias"))

    def at(w: torch.Tensor, b: torch.Tensor) -> tuple[float, torch.Tensor]:
        w, b = w.requires_grad_(), b.requires_grad_()
        loss = nn.functional.cross_entropy(batch["x"].double() @ w.T + b, batch["label"])
        return float(loss.detach()), torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, (w, b))]
        )

    loss, g = at(w.clone(), b.clone())
    gw, gb = g[: w.numel()].view_as(w), g[w.numel() :]
    there = [at((w - a * gw).clone(), (b - a * gb).clone()) for a in (0.5, 2)]
    changes = [float((found - g).norm()) for _, found in there]
    size = float(g.norm())
    assert row["loss"] == pytest.approx(loss, abs=1e-9)
    assert row["beta"] == pytest.approx(max(changes[0] / 0.5, changes[1] / 2) / size, rel=1e-6)
    assert row["predictiveness"] == pytest.approx(max(changes), rel=1e-6)
    assert row["loss_range"] == pytest.approx(abs(there[0][0] - there[1][0]), rel=1e-6)
    assert metrics["train/beta_mean"] == row["beta"]
    assert metrics["train/predictiveness_mean"] == row["predictiveness"]


def test_lines_and_table(tmp_path: Path) -> None:
    _, stored = run(tmp_path, *ON)
    assert [row["step"] for row in stored.tables()["smoothness"]] == [4, 8]
    lines = [line for line in stored.history() if "train/beta" in line]
    assert [line["step"] for line in lines] == [4, 8]
    assert all(line["train/loss_range"] > 0 for line in lines)


def test_a_part_of_a_step_is_refused(tmp_path: Path) -> None:
    accumulated = (*DIGITS, *ON, "trainer.accumulate_grad_batches=2", f"out={tmp_path}")
    summary = execute(spec_of(list(accumulated)))
    assert "set trainer.accumulate_grad_batches=1" in (summary.error or "")
