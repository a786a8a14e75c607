"""The gap of wrong prefixes: by hand, and in a run."""

from pathlib import Path

import pytest
import torch

from suexp.callback.prefix_gap import PrefixGap
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.nn.replacement import generator_of, replaced
from suexp.store.folder import Run
from tests.task.test_seq2seq import SIZES, SMALL, batch_of, task_of

RUN = [*SMALL, *SIZES, "callback=prefix_gap", "trainer=cpu", "trainer.max_steps=2"]
RUN += ["trainer.val_check_interval=1", "trainer.limit_val_batches=2", "task.generate_rows=0"]
RUN += ["trainer.enable_progress_bar=false", "data.batch_size=4", "data.eval_batch_size=8"]


def test_sums_by_hand() -> None:
    task = task_of()
    batch = batch_of(task)
    callback = PrefixGap(rates=[0.3, 1.0], pools=["target", "vocab"])
    with torch.no_grad():
        found = callback.measured(task, batch, 5)
        expected = [task.objective(batch)]
        for pool in ("target", "vocab"):
            for rate in (0.3, 1.0):
                inputs = replaced(task, batch, pool, 1.0, rate, generator_of(5, 0))  # type: ignore[arg-type]
                expected.append(task.objective({**batch, "inputs": inputs}))
    means = found[:, 0] / found[:, 1]
    torch.testing.assert_close(means, torch.stack(expected).double())
    assert set(found[:, 1].tolist()) == {float(batch["segments"].sum())}


@pytest.mark.parametrize("more", [[], ["model=encoder_decoder", "mask=causal"]])
def test_a_run_reports_it(more: list[str], tmp_path: Path) -> None:
    config = spec_of([*RUN, *more, f"out={tmp_path}"])
    summary = execute(config)
    assert summary.status == "finished", summary.error
    rows = Run(config).tables()["prefix_gap"]
    assert [(row["pool"], row["rate"]) for row in rows] == [
        (pool, rate) for pool in ("target", "model") for rate in (0.1, 0.2, 0.3, 0.4, 0.5)
    ]
    gaps = {(row["pool"], row["rate"]): row["gap"] for row in rows}
    assert summary.metrics["val/prefix_gap_r30"] == gaps["target", 0.3]
    assert summary.metrics["val/prefix_gap_model_r50"] == gaps["model", 0.5]
    for row in rows:
        loss = summary.metrics["val/loss"]
        assert row["loss"] - row["gap"] == pytest.approx(loss, rel=1e-4)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"rates must lie in \(0, 1\], not 0"):
        PrefixGap(rates=[0])
    with pytest.raises(UserError, match="use task=seq2seq"):
        resolve(["callback=prefix_gap"])
    with pytest.raises(UserError, match="use task=seq2seq"):
        PrefixGap().measured(task_of(), {}, 0)
