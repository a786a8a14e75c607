"""Gradients that are accumulated: all that a run counts, it counts in steps."""

import json
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.callbacks import Callback

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.processes import two_processes
from tests.support.tiny import TINY

OWN = ("allow_targets=[tests]", "+callbacks.own._target_=tests.job.test_accumulation.Seen")
FILES = (
    *("task=classification", "data=files", "data.kind=classification", "data.vocab_size=300"),
    *("model.dropout=0", "trainer.log_every_n_steps=1", "trainer.limit_val_batches=1.0"),
    *("trainer.max_steps=7", "trainer.val_check_interval=3", "optimizer.lr=1e-2", *OWN),
)
PLAIN = [item for item in TINY if not item.startswith(("data.", "task."))]
TIMES = {"train/elements_per_second"}


class Seen(Callback):
    """The losses that callbacks are given, and the steps that they are called at."""

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, *_: Any) -> None:
        row = {"step": trainer.global_step, "loss": float(outputs["loss"])}
        task.record_rows("seen", [row])


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Four batches of four texts an epoch, and validation texts; of different lengths."""
    for name, rows in (("train", 17), ("val", 6)):
        lines = [f"{'red blue green '[: 5 + i]} {'cat dog'[: i % 7]},{i % 2}" for i in range(rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return tmp_path


def run(texts: Path, batch_size: int, batches: int, *overrides: str) -> tuple[Run, list[str]]:
    data = (f"data.train={texts}/train.csv", f"data.validation={texts}/val.csv")
    size = (f"data.batch_size={batch_size}", f"trainer.accumulate_grad_batches={batches}")
    spec = spec_of([*PLAIN, *FILES, *data, *size, f"out={texts}/{batch_size}", *overrides])
    said: list[str] = []
    assert execute(spec, said.append).status == "finished"
    return Run(spec), said


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs optimizer.max_iter=2"])
def test_a_run_equals_one_with_the_large_batch(texts: Path, optimizer: str) -> None:
    own = (*f"optimizer={optimizer}".split(), "trainer.gradient_clip_val=null")
    large, _ = run(texts, 8, 1, *own)
    small, said = run(texts, 4, 2, *own)
    assert said == []
    rows = (small.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3, 3, 4, 5, 6, 6, 7, 7]
    assert [line["step"] for line in small.history() if "val/loss" in line] == [3, 6, 7]
    equal = 7 if optimizer == "adamw" else 1  # a line search magnifies the first step's rounding
    for ours, theirs in zip(small.history(), large.history(), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - TIMES if ours["step"] <= equal else ():
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), (ours["step"], name)
    seen = small.tables()["seen"]
    losses = [line["train/loss"] for line in small.history() if "train/loss" in line]
    assert [row["step"] for row in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["loss"] for row in seen] == pytest.approx(losses)
    a, b = small.summary(), large.summary()
    assert a is not None
    assert b is not None
    assert a.cost["flops_per_step"] == b.cost["flops_per_step"]


@pytest.mark.slow
def test_a_step_never_has_more_batches_than_an_epoch(texts: Path) -> None:
    whole, _ = run(texts, 16, 1)
    for batches, notes in ((4, 0), (8, 1)):
        part, said = run(texts, 4, batches)
        assert (
            len([line for line in said if "has 4 batches a step: an epoch has not 8" in line])
            == notes
        )
        for ours, theirs in zip(part.history(), whole.history(), strict=True):
            for name in ours.keys() - TIMES:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-4), (ours["step"], name)


@pytest.mark.slow
def test_two_processes_accumulate_what_one_sees_at_once(tmp_path: Path) -> None:
    """Of hidden tokens, of which no two batches have as many."""
    masked = ("task=masked_lm", "model.dropout=0", "trainer.max_steps=6", f"out={tmp_path}")
    steps = ("trainer.log_every_n_steps=1", "trainer.val_check_interval=6")
    common = [item for item in TINY if not item.startswith(("task.", "trainer=cpu"))]
    common += [*masked, *steps, "trainer.accelerator=cpu"]
    one = spec_of([*common, "data.batch_size=8"])
    assert execute(one).status == "finished"
    two = spec_of([*common, "trainer=ddp", "trainer.accumulate_grad_batches=2"])
    two_processes(two)
    found, expected = (
        [line["train/loss"] for line in Run(spec).history() if "train/loss" in line]
        for spec in (two, one)
    )
    assert len(found) == 6
    assert found == pytest.approx(expected, rel=1e-5)


def test_lightnings_own_scheduler_of_accumulation_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_scheduler.py").write_text(
        "from pytorch_lightning.callbacks import GradientAccumulationScheduler\n"
        "class Mine(GradientAccumulationScheduler):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    theirs = "pytorch_lightning.callbacks.GradientAccumulationScheduler"
    for target in (theirs, "own_scheduler.Mine"):
        own = [f"+callbacks.x._target_={target}", f"allow_targets=[{target}]"]
        with pytest.raises(UserError, match=r"callbacks\.x: .*trainer.accumulate_grad_batches$"):
            resolve([*own, "+callbacks.x.scheduling={0:2}"])
