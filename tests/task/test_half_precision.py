"""A run whose numbers have 16 bits: what is summed up over a split or a line is not rounded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics import Metric

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.job.build import build, trained
from suexp.job.recorder import Recorder
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run

TASKS = {
    "causal_lm": ("data.tokenizer=bytes", "data.max_bytes=20000"),
    "masked_lm": ("data.tokenizer=bytes", "data.max_bytes=20000"),
    "classification": ("data=digits", "model=mlp"),
    "regression": ("data.name=diabetes",),
    "tagging": ("model=conv_tagger", "data.max_bytes=20000"),
    "pair_mlm": ("data.tokenizer=bytes", "data.num_train=50", "data.num_validation=20"),
    "seq2seq": ("data.tokenizer=bytes", "data.block_size=160"),
    "similar_sentence": ("data.tokenizer=bytes", "model.pooler=linear"),
}


def task_of(name: str, *overrides: str) -> Any:
    config = resolve([f"task={name}", *TASKS[name], *overrides, "threads=1"]).config
    return build(config, instantiate(config["data"]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", TASKS)
def test_metrics_keep_their_sums_in_full(name: str, dtype: torch.dtype) -> None:
    task = task_of(name).to(dtype=dtype)
    metrics = [module for module in task.modules() if isinstance(module, Metric)]
    assert metrics
    assert {p.dtype for p in task.model.parameters()} == {dtype}
    for metric in metrics:
        metric.reset()
        assert metric.dtype == torch.float32
        states = [getattr(metric, key) for key in metric._defaults]
        assert all(x.itemsize >= 4 for x in states if isinstance(x, torch.Tensor))


def test_twenty_thousand_rows_of_which_seven_tenths_are_right() -> None:
    task = task_of("classification").to(dtype=torch.bfloat16)
    for batch in torch.arange(20_000).split(500):
        task.accuracy.update((batch % 10 < 7).to(torch.bfloat16))
        task.mean_loss.update(torch.tensor(0.6386), weight=500)
    assert task.accuracy.compute() == pytest.approx(0.7)
    assert task.mean_loss.compute() == pytest.approx(0.6386)


def test_the_mean_of_a_lines_losses_is_not_rounded() -> None:
    recorder, losses = Recorder(every=1000), [1 + i / 128 for i in range(300)]
    trainer: Any = type("T", (), {"global_step": 0, "max_steps": -1})
    for step, loss in enumerate(losses, 1):
        trainer.global_step = step
        outputs = {"loss": torch.tensor(loss, dtype=torch.bfloat16)}
        recorder.on_train_batch_end(trainer, None, outputs, {"x": torch.zeros(1)}, 0)  # type: ignore[arg-type]
    expected = sum(float(torch.tensor(x, dtype=torch.bfloat16)) for x in losses)
    assert float(recorder._totals["loss"]) == pytest.approx(expected, rel=1e-6)


# But for costs, which are those of the run's precision, and enlargement_error, whose networks are.
ESTIMATED = {
    "attention_noise": (),
    "attention_rank": ("task.steps=3",),
    "init_geometry": (),
    "kernel_estimation": (),
    "points_in_sector": (),
    "softmax_entropy": (),
    "softmax_information": (),
    "taylor_estimation": (),
}


@pytest.mark.parametrize("name", ESTIMATED)
def test_samples_are_not_drawn_in_the_runs_precision(name: str) -> None:
    config = resolve([f"task={name}", "data=counter", *ESTIMATED[name], "threads=1"]).config
    drawn = []
    for dtype in (torch.float32, torch.bfloat16):
        task = build(config, instantiate(config["data"]))
        torch.set_default_dtype(dtype)  # as Lightning does
        try:
            with torch.inference_mode():
                drawn.append(task.draw(2, task.generator(0)))
        finally:
            torch.set_default_dtype(torch.float32)
    assert drawn[0].keys() == drawn[1].keys()
    for key, value in drawn[0].items():
        torch.testing.assert_close(drawn[1][key], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_a_runs_accuracy_is_a_share_of_its_rows(tmp_path: Path, precision: str) -> None:
    steps = ("trainer.max_steps=30", "trainer.val_check_interval=30", "trainer=cpu")
    quiet = ("trainer.enable_progress_bar=false", f"out={tmp_path}")
    own = (f"trainer.precision={precision}", "optimizer.eps=1e-4")
    chosen = ["task=classification", "data=digits", "model=mlp", "threads=1", *steps, *quiet, *own]
    spec = spec_of(chosen)
    metrics = execute(spec).metrics
    task: Any = trained(Run(spec)).to(dtype=torch.bfloat16 if "b" in precision else torch.float16)
    rows = task.data.splits()["validation"]
    batch = task.data.collate(rows.__getitems__(list(range(len(rows)))))
    with torch.no_grad():
        logits = task.eval().logits({"x": batch["x"].to(next(task.parameters()).dtype)})
    right = (logits.argmax(-1) == batch["label"]).sum().item()
    assert len(rows) > 256
    assert 0 < right < len(rows)
    assert metrics["val/accuracy"] == pytest.approx(right / len(rows), abs=1e-6)
    loss = torch.nn.functional.cross_entropy(logits.float(), batch["label"]).item()
    assert metrics["val/loss"] == pytest.approx(loss, rel=1e-5)
