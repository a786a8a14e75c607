"""What hidden words of the source cost: by hand, and in a run."""

from pathlib import Path

import pytest
import torch

from suexp.callback.source_gap import SourceGap
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.nn.replacement import generator_of
from suexp.nn.word_noise import noised
from suexp.store.folder import Run
from tests.callback.test_similar_samples import RUN
from tests.task import test_seq2seq, test_similar_sentence


@pytest.mark.parametrize("module", [test_seq2seq, test_similar_sentence])
@torch.no_grad()
def test_sums_by_hand(module) -> None:
    task = module.task_of()
    batch = module.batch_of(task)
    found = SourceGap(rates=[0.3, 1.0]).measured(task, batch, 5)
    assert set(found[:, 1].tolist()) == {float(batch["segments"].sum())}
    for row, rate in enumerate((0.0, 0.3, 1.0)):
        inputs = noised(task, batch, 1.0, rate, generator_of(5, 0), 1.0, 0.0)
        logits, target = task.predict({**batch, "inputs": inputs}, "target")
        expected = torch.nn.functional.cross_entropy(logits, target)
        assert float(found[row, 0] / found[row, 1]) == pytest.approx(float(expected), rel=1e-5)
    assert found[2, 0] != found[0, 0]


def test_a_run_reports_it(tmp_path: Path) -> None:
    spec = spec_of([*RUN, "callback=source_gap", f"out={tmp_path}"])
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    rows = Run(spec).tables()["source_gap"]
    assert [row["rate"] for row in rows] == [0.0, 0.15, 0.3, 0.45, 0.6]
    assert rows[0]["loss"] == pytest.approx(summary.metrics["val/loss"], rel=1e-5)
    assert rows[2]["loss"] == summary.metrics["val/loss_hidden_r30"]
    assert rows[4]["gap"] == pytest.approx(rows[4]["loss"] - rows[0]["loss"])


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"rates must be in \(0, 1\], not 0"):
        SourceGap(rates=[0])
    with pytest.raises(UserError, match="use task=seq2seq"):
        SourceGap().measured(test_similar_sentence.task_of(), {}, 0)
