"""The loss on another data set is what a validation on it says."""

from pathlib import Path

import pytest

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from tests.support.tiny import tiny

OTHER = ["callback=other_loss", "callbacks.other_loss.batches=2"]


@pytest.mark.slow
def test_it_is_a_validation_s_loss(tmp_path: Path) -> None:
    """Of the same data it is val/loss of as many batches; of code it is another."""
    base = tiny(tmp_path, *OTHER)
    same = execute(spec_of(base))
    assert same.status == "finished", same.error
    assert same.metrics["val/other_loss"] == pytest.approx(same.metrics["val/loss"], abs=1e-5)
    code = execute(spec_of([*base, "data=stdlib_code", *tiny(tmp_path)[:4]]))
    assert code.status == "finished", code.error
    assert abs(code.metrics["val/other_loss"] - code.metrics["val/loss"]) > 0.01


@pytest.mark.slow
def test_other_tokens_are_refused(tmp_path: Path) -> None:
    summary = execute(spec_of(tiny(tmp_path, *OTHER, "callbacks.other_loss.data.tokenizer=bpe")))
    assert summary.mistake
    assert "choose one tokenizer for both" in summary.error
