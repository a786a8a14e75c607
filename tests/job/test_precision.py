"""Runs in other precisions than float32, to their last line."""

from pathlib import Path

import pytest

import suexp

CASES = {
    "perceptron": ["task=classification", "data=sklearn", "model=mlp", "model.dim=8"],
    "grid": ["task=classification", "data=sklearn", "data.name=iris", "data.columns=[2,3]",
             "model=linear", "callback=[decision_grid,gradient_sign,update_size,weight_noise]"],
    "critic": ["task=adversarial", "model.dim=8", "task.line_points=50"],
    "penalty": ["task=adversarial", "model.dim=8", "method=gradient_normalization"],
    "recall": ["task=classification", "data=recall", "model.dim=8", "model.num_heads=2",
               "callback=recall_lengths", "callbacks.recall_lengths.lengths=[8,16]"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "precision"),
    [
        (case, precision)
        for case in CASES
        for precision in ("64-true", "bf16-true")
        # Averages of weights and gradients of gradients want more than 16 bits: it is refused.
        if precision == "64-true" or "task=adversarial" not in CASES[case]
    ],
)
def test_trains_and_finishes(case: str, precision: str, tmp_path: Path) -> None:
    settings = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer=cpu", "threads=1"]
    settings += ["trainer.limit_val_batches=1", f"out={tmp_path}", "data.batch_size=8"]
    summary = suexp.run([*CASES[case], f"trainer.precision={precision}", *settings])
    assert summary.error is None
    assert summary.finished
    assert summary.cost["flops_per_step"] > 0


@pytest.mark.slow
def test_in_float64_two_optimizers_that_are_one_end_alike(tmp_path: Path) -> None:
    """Signum without momentum equals Lion with betas (0, 0): to the last digit of float64."""
    losses = []
    for optimizer in (
        ["optimizer=signum", "optimizer.beta=0"],
        ["optimizer=lion", "optimizer.betas=[0,0]"],
    ):
        settings = [
            "trainer.max_steps=5",
            "trainer.precision=64-true",
            "trainer=cpu",
            f"out={tmp_path}",
        ]
        settings += ["optimizer.lr=1e-3", "optimizer.weight_decay=0"]
        summary = suexp.run([*CASES["perceptron"], *optimizer, *settings])
        losses.append(summary.metrics["val/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-15)
