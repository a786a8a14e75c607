"""A run's FLOPs a step are those that a counter sees in its training steps, whatever the method."""

import statistics
from pathlib import Path
from typing import Any

import pytest

from suexp.config.catalogue import Catalogue
from suexp.errors import UserError
from suexp.job.recorder import Recorder
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.nn.flops import counted
from suexp.store.spec import RunSpec

TRAINER = ["trainer=cpu", "trainer.max_steps=6", "trainer.limit_val_batches=1"]
TRAINER += ["trainer.enable_progress_bar=false", "threads=1"]
DIGITS = ["task=classification", "data=digits", "data.patch=2", "model.dim=8", "model.num_heads=2"]
DIGITS += ["position=learned", "position.max_length=16"]
PAIRS = ["task=matching", "model=bag_encoder", "model.dim=8", "data.tokenizer=bytes"]
PAIRS += ["data.block_size=12", "data.batch_size=20", "loss.learnable=true"]
TARGETS = ["task=seq2seq", "data.tokenizer=bytes", "data.block_size=160", "model.dim=8"]
TARGETS += ["model.num_heads=2", "data.batch_size=8", "task.generate_rows=0"]
SIMILAR = ["task=similar_sentence", "model.pooler=linear", "data.tokenizer=bytes", "model.dim=8"]
SIMILAR += ["model.num_heads=2", "data.batch_size=8", "sources={teacher:['seed=1']}"]
# What a method may be for: the first that lets it train is taken.
SETTINGS = [
    DIGITS,
    [*DIGITS, "model.num_layers=2", "transform=truncate", 'parent=["model.num_layers=4"]'],
    PAIRS,
    TARGETS,
    ["task=adversarial", "task.num_samples=20", "task.line_points=0", "model.dim=8"],
    SIMILAR,
]


def run_with(method: str, *more: str) -> RunSpec:
    for setting in SETTINGS:
        try:
            return spec_of([*setting, *TRAINER, f"method={method}", *more])
        except UserError:
            continue
    raise AssertionError(f"method={method} trains in none of these settings")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The operations of every training step, its own and its parents'."""
    found: list[int] = []
    open_: list[Any] = []
    end = Recorder.on_train_batch_end

    def begin(*_: Any) -> None:
        context = counted()
        open_.append((context, context.__enter__()))

    def finish(*arguments: Any) -> None:
        context, counter = open_.pop()
        context.__exit__(None, None, None)
        found.append(counter.get_total_flops())
        end(*arguments)

    monkeypatch.setattr(Recorder, "on_train_batch_start", begin)
    monkeypatch.setattr(Recorder, "on_train_batch_end", finish)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", list(Catalogue().groups["method"]))
def test_a_step_costs_what_is_counted(method: str, tmp_path: Path, steps: list[int]) -> None:
    spec = run_with(method, f"out={tmp_path}")
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    # Targets differ in length, and so do steps; the cost is that of one of them.
    task = spec.config["task"]["_target_"]
    rel = 0.05 if "seq2seq" in task or "similar_sentence" in task else 1e-12
    assert summary.cost["flops_per_step"] == pytest.approx(statistics.fmean(steps[-6:]), rel, 0.5)
    assert summary.cost["flops"] == pytest.approx(sum(steps), rel, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["trainer.accumulate_grad_batches=2"],
        ["trainer.precision=64-true"],
        ["trainer.precision=bf16-true"],
        ["optimizer=lbfgs", "optimizer.max_iter=3", "trainer.gradient_clip_val=null"],
    ],
)
def test_whatever_the_trainer_does(more: list[str], tmp_path: Path, steps: list[int]) -> None:
    summary = execute(run_with("none", f"out={tmp_path}", *more))
    assert summary.status == "finished", summary.error
    assert summary.cost["flops"] == pytest.approx(sum(steps), abs=6)
